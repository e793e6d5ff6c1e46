//! A room server on axum: each message is encoded once for the whole room, and each connection writes all messages
//! that wait for it with one system call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::{response::Response, routing::any, Router};
use bench_axum::{serve, unix_seconds, ClientMessage, Guest, Options, ServerMessage, UserPresence};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use uuid::Uuid;

/// A member with this many messages unsent is cut off.
const QUEUE: usize = 16_384;
const BATCH: usize = 256;
const READ_BUFFER: usize = 4_096; // as its documentation advises for many connections
const MAX_MESSAGE: usize = 65_536;

struct Member {
    user: Utf8Bytes, // its JSON
    outbox: mpsc::Sender<Utf8Bytes>,
}

type Room = HashMap<Uuid, Member>;

struct Server {
    rooms: Mutex<HashMap<Uuid, Room>>,
    announce_joins: bool,
}

struct Session {
    server: Arc<Server>,
    user_id: Uuid,
    username: String,
    room_id: Option<Uuid>,
    outbox: mpsc::Sender<Utf8Bytes>,
}

fn send_all(room: &mut Room, text: Utf8Bytes, except: Option<Uuid>) {
    // The member's connection ends when its outbox is gone.
    room.retain(|user_id, member| Some(*user_id) == except || member.outbox.try_send(text.clone()).is_ok());
}

impl Session {
    fn handle(&mut self, message: ClientMessage) {
        match message {
            ClientMessage::JoinRoom { room_id } => self.join(room_id),
            ClientMessage::LeaveRoom => self.leave(),
            ClientMessage::Chat { content } => {
                let username = self.username.clone();
                let timestamp = unix_seconds();
                self.publish(ServerMessage::Chat { user_id: self.user_id, username, content, timestamp }, None);
            }
            ClientMessage::CursorMove { x, y, element_id } => {
                let user_id = self.user_id;
                self.publish(ServerMessage::CursorUpdate { user_id, x, y, element_id }, Some(user_id));
            }
            ClientMessage::Typing { is_typing } => {
                let user_id = self.user_id;
                self.publish(ServerMessage::TypingStatus { user_id, is_typing }, Some(user_id));
            }
            ClientMessage::Ping => {
                let _ = self.outbox.try_send(ServerMessage::Pong.encode().into());
            }
        }
    }

    fn publish(&self, message: ServerMessage, except: Option<Uuid>) {
        let Some(room_id) = self.room_id else { return };
        let mut rooms = self.server.rooms.lock().unwrap();
        if let Some(room) = rooms.get_mut(&room_id) {
            send_all(room, message.encode().into(), except);
        }
    }

    fn join(&mut self, room_id: Uuid) {
        self.leave();
        let user = UserPresence {
            user_id: self.user_id,
            username: self.username.clone(),
            avatar_url: None,
            cursor: None,
        };
        let user: Utf8Bytes = serde_json::to_string(&user).unwrap().into();
        let mut rooms = self.server.rooms.lock().unwrap();
        let room = rooms.entry(room_id).or_default();
        if self.server.announce_joins {
            send_all(room, format!(r#"{{"type":"UserJoined","payload":{{"user":{user}}}}}"#).into(), None);
        }
        room.insert(self.user_id, Member { user, outbox: self.outbox.clone() });
        let size: usize = room.values().map(|member| member.user.len() + 1).sum();
        let mut joined = String::with_capacity(size + 128);
        joined.push_str(&format!(r#"{{"type":"JoinedRoom","payload":{{"room_id":"{room_id}","users":["#));
        for (index, member) in room.values().enumerate() {
            if index > 0 {
                joined.push(',');
            }
            joined.push_str(member.user.as_str());
        }
        joined.push_str("]}}");
        let _ = self.outbox.try_send(joined.into());
        self.room_id = Some(room_id);
    }

    fn leave(&mut self) {
        let Some(room_id) = self.room_id.take() else { return };
        let mut rooms = self.server.rooms.lock().unwrap();
        let Some(room) = rooms.get_mut(&room_id) else { return };
        room.remove(&self.user_id);
        if room.is_empty() {
            rooms.remove(&room_id);
        } else if self.server.announce_joins {
            send_all(room, ServerMessage::UserLeft { user_id: self.user_id }.encode().into(), None);
        }
    }
}

async fn upgrade(ws: WebSocketUpgrade, Query(guest): Query<Guest>, State(server): State<Arc<Server>>) -> Response {
    ws.read_buffer_size(READ_BUFFER)
        .max_message_size(MAX_MESSAGE)
        .on_upgrade(move |socket| converse(socket, guest.username, server))
}

async fn converse(socket: WebSocket, username: String, server: Arc<Server>) {
    let (mut writer, mut reader) = socket.split();
    let (outbox, mut waiting) = mpsc::channel::<Utf8Bytes>(QUEUE);
    let user_id = Uuid::new_v4();
    let _ = outbox.try_send(ServerMessage::Welcome { connection_id: Uuid::new_v4(), user_id }.encode().into());
    let mut session = Session { server, user_id, username, room_id: None, outbox };
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            received = reader.next() => match received {
                Some(Ok(Message::Text(text))) => {
                    if let Ok(message) = serde_json::from_str(&text) {
                        session.handle(message);
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
            _ = waiting.recv_many(&mut batch, BATCH) => {
                let mut written = Ok(());
                for text in batch.drain(..) {
                    written = writer.feed(Message::Text(text)).await;
                }
                if written.is_err() || writer.flush().await.is_err() {
                    break;
                }
            }
        }
    }
    session.leave();
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = Options::read();
    let server = Server { rooms: Mutex::default(), announce_joins: options.announce_joins };
    serve(options.port, Router::new().route("/ws", any(upgrade)).with_state(Arc::new(server))).await;
}
