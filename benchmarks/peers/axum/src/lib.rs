//! What both servers share: the messages of the dialect `room`, the command line, and the listening socket.

use axum::{serve::ListenerExt, Router};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload")]
pub enum ClientMessage {
    JoinRoom { room_id: Uuid },
    LeaveRoom,
    Chat { content: String },
    CursorMove { x: f64, y: f64, element_id: Option<String> },
    Typing { is_typing: bool },
    Ping,
}

#[derive(Clone, Serialize)]
#[serde(tag = "type", content = "payload")]
pub enum ServerMessage {
    Welcome { connection_id: Uuid, user_id: Uuid },
    JoinedRoom { room_id: Uuid, users: Vec<UserPresence> },
    UserJoined { user: UserPresence },
    UserLeft { user_id: Uuid },
    Chat { user_id: Uuid, username: String, content: String, timestamp: u64 },
    CursorUpdate { user_id: Uuid, x: f64, y: f64, element_id: Option<String> },
    TypingStatus { user_id: Uuid, is_typing: bool },
    Pong,
}

impl ServerMessage {
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("messages have string keys only")
    }
}

#[derive(Clone, Serialize)]
pub struct UserPresence {
    pub user_id: Uuid,
    pub username: String,
    pub avatar_url: Option<String>,
    pub cursor: Option<CursorPosition>,
}

#[derive(Clone, Serialize)]
pub struct CursorPosition {
    pub x: f64,
    pub y: f64,
    pub element_id: Option<String>,
}

/// The query of the handshake.
#[derive(Deserialize)]
pub struct Guest {
    #[serde(default = "anonymous")]
    pub username: String,
}

fn anonymous() -> String {
    "User".to_string()
}

pub struct Options {
    pub port: u16,
    pub announce_joins: bool,
}

impl Options {
    pub fn read() -> Self {
        let words: Vec<String> = std::env::args().collect();
        let port = words.iter().position(|word| word == "--port").and_then(|at| words.get(at + 1));
        Options {
            port: port.and_then(|port| port.parse().ok()).expect("--port is needed"),
            announce_joins: !words.iter().any(|word| word == "--quiet-joins"),
        }
    }
}

pub fn unix_seconds() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

pub async fn serve(port: u16, app: Router) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true); // as its documentation shows
    });
    axum::serve(listener, app).await.expect("the listener works");
}
