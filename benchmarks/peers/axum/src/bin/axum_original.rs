//! The server of the description that Studyroom began with: a broadcast channel for each room, whose messages each
//! connection encodes for itself, and two tasks and a queue for each connection. It is on axum 0.8 instead of 0.7, and
//! takes the name of a guest from the address. Otherwise it is that design, with its faults: a connection that falls
//! 1,000 messages back gets no more of its room, and authors get their own cursors.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::{response::Response, routing::any, Router};
use bench_axum::{
    serve, unix_seconds, ClientMessage, CursorPosition, Guest, Options, ServerMessage, UserPresence,
};
use dashmap::DashMap;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{broadcast, mpsc};
use uuid::Uuid;

struct Room {
    tx: broadcast::Sender<ServerMessage>,
    users: DashMap<Uuid, UserPresence>,
}

#[derive(Clone)]
struct RoomManager {
    rooms: Arc<DashMap<Uuid, Room>>,
    announce_joins: bool,
}

impl RoomManager {
    fn create_room(&self, room_id: Uuid) {
        self.rooms.entry(room_id).or_insert_with(|| Room {
            tx: broadcast::channel(1000).0,
            users: DashMap::new(),
        });
    }

    fn subscribe(&self, room_id: Uuid) -> Option<broadcast::Receiver<ServerMessage>> {
        self.rooms.get(&room_id).map(|room| room.tx.subscribe())
    }

    fn join_room(&self, room_id: Uuid, user: UserPresence) -> Vec<UserPresence> {
        let Some(room) = self.rooms.get(&room_id) else { return vec![] };
        room.users.insert(user.user_id, user.clone());
        if self.announce_joins {
            let _ = room.tx.send(ServerMessage::UserJoined { user });
        }
        room.users.iter().map(|entry| entry.value().clone()).collect()
    }

    fn leave_room(&self, room_id: Uuid, user_id: Uuid) {
        if let Some(room) = self.rooms.get(&room_id) {
            room.users.remove(&user_id);
            if self.announce_joins {
                let _ = room.tx.send(ServerMessage::UserLeft { user_id });
            }
            if room.users.is_empty() {
                drop(room);
                self.rooms.remove(&room_id);
            }
        }
    }

    fn broadcast(&self, room_id: Uuid, message: ServerMessage) {
        if let Some(room) = self.rooms.get(&room_id) {
            let _ = room.tx.send(message);
        }
    }

    fn update_cursor(&self, room_id: Uuid, user_id: Uuid, x: f64, y: f64, element_id: Option<String>) {
        if let Some(room) = self.rooms.get(&room_id) {
            if let Some(mut user) = room.users.get_mut(&user_id) {
                user.cursor = Some(CursorPosition { x, y, element_id: element_id.clone() });
            }
            let _ = room.tx.send(ServerMessage::CursorUpdate { user_id, x, y, element_id });
        }
    }
}

async fn upgrade(ws: WebSocketUpgrade, Query(guest): Query<Guest>, State(manager): State<RoomManager>) -> Response {
    ws.on_upgrade(|socket| handle_socket(socket, guest.username, manager))
}

async fn handle_socket(socket: WebSocket, username: String, manager: RoomManager) {
    let (mut sender, mut receiver) = socket.split();
    let (connection_id, user_id) = (Uuid::new_v4(), Uuid::new_v4());
    let mut current_room: Option<Uuid> = None;
    let welcome = ServerMessage::Welcome { connection_id, user_id };
    if sender.send(Message::Text(welcome.encode().into())).await.is_err() {
        return;
    }
    let (outbox, mut waiting) = mpsc::channel::<ServerMessage>(100);
    let send_task = tokio::spawn(async move {
        while let Some(message) = waiting.recv().await {
            if sender.send(Message::Text(message.encode().into())).await.is_err() {
                break;
            }
        }
    });
    while let Some(Ok(message)) = receiver.next().await {
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => break,
            _ => continue,
        };
        let Ok(message) = serde_json::from_str::<ClientMessage>(&text) else { continue };
        match message {
            ClientMessage::JoinRoom { room_id } => {
                if let Some(old_room) = current_room.take() {
                    manager.leave_room(old_room, user_id);
                }
                manager.create_room(room_id);
                let user = UserPresence { user_id, username: username.clone(), avatar_url: None, cursor: None };
                let users = manager.join_room(room_id, user);
                current_room = Some(room_id);
                if let Some(mut room) = manager.subscribe(room_id) {
                    let outbox = outbox.clone();
                    tokio::spawn(async move {
                        while let Ok(message) = room.recv().await {
                            if outbox.send(message).await.is_err() {
                                break;
                            }
                        }
                    });
                }
                let _ = outbox.send(ServerMessage::JoinedRoom { room_id, users }).await;
            }
            ClientMessage::LeaveRoom => {
                if let Some(room_id) = current_room.take() {
                    manager.leave_room(room_id, user_id);
                }
            }
            ClientMessage::Chat { content } => {
                if let Some(room_id) = current_room {
                    let (username, timestamp) = (username.clone(), unix_seconds());
                    manager.broadcast(room_id, ServerMessage::Chat { user_id, username, content, timestamp });
                }
            }
            ClientMessage::CursorMove { x, y, element_id } => {
                if let Some(room_id) = current_room {
                    manager.update_cursor(room_id, user_id, x, y, element_id);
                }
            }
            ClientMessage::Typing { is_typing } => {
                if let Some(room_id) = current_room {
                    manager.broadcast(room_id, ServerMessage::TypingStatus { user_id, is_typing });
                }
            }
            ClientMessage::Ping => {
                let _ = outbox.send(ServerMessage::Pong).await;
            }
        }
    }
    if let Some(room_id) = current_room {
        manager.leave_room(room_id, user_id);
    }
    send_task.abort();
}

#[tokio::main]
async fn main() {
    let options = Options::read();
    let manager = RoomManager { rooms: Arc::new(DashMap::new()), announce_joins: options.announce_joins };
    serve(options.port, Router::new().route("/ws", any(upgrade)).with_state(manager)).await;
}
