//! The client against somebody else's idea of Telegram: npm's `telegram-test-api`. It checks nothing and refuses
//! nothing, so this is about being understood; failures and limits are the fake server's part.
//!
//! `scripts/install-telegram-emulator.sh` puts it into the cache folder. Where Node.js or npm are missing the test says
//! so and passes, except in CI, where only a machine that cannot have them is excused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // helpers of tests, too

mod common;

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use common::{CHAT, message_with_button, settings};
use perennial_core::ports::Messenger as _;
use perennial_telegram::Telegram;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The script's word for "cannot be installed here".
const EXIT_CANNOT: i32 = 69;

/// Listens until its standard input closes, so it ends with the test in whatever way that ends.
const SERVER: &str = "
const TelegramServer = require('telegram-test-api');
const server = new TelegramServer({ host: '127.0.0.1', port: Number(process.argv[1]), storeTimeout: 3600 });
process.stdin.on('end', () => process.exit(0)).resume();
server.start().then(() => console.log('ready'), (error) => { console.error(error); process.exit(1); });
";

/// The folder it is installed in; none where that cannot be.
fn installed() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/install-telegram-emulator.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().expect("bash runs the script");
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    match output.status.code() {
        Some(0) => Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())),
        Some(EXIT_CANNOT) => {
            eprintln!("SKIPPED: no Node.js or npm here, so the emulator was not asked");
            None
        }
        _ if is_ci => panic!("the emulator could not be installed: {}", output.status),
        _ => {
            eprintln!("SKIPPED: the emulator could not be installed ({})", output.status);
            None
        }
    }
}

struct Emulator {
    child: Child,
    stdin: Option<ChildStdin>,
    port: u16,
}

impl Emulator {
    fn start(folder: &Path) -> Self {
        // Free a moment ago; the emulator takes no listener of ours.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut child = Command::new("node")
            .args(["-e", SERVER, &port.to_string()])
            .env("NODE_PATH", folder.join("node_modules"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self { child, stdin, port }
    }

    /// Everything that was sent with this token, as it was sent.
    async fn history(&self, token: &str) -> Vec<Value> {
        let body = json!({ "token": token }).to_string();
        let request = format!(
            "POST /getUpdatesHistory HTTP/1.1\r\nHost: emulator\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let answer: Value = serde_json::from_str(body).unwrap();
        answer["result"].as_array().unwrap().iter().map(|update| update["message"].clone()).collect()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn an_independent_server_understands_the_client() {
    let Some(folder) = installed() else {
        return;
    };
    let emulator = Emulator::start(&folder);
    let mut settings = settings(&format!("http://127.0.0.1:{}", emulator.port));
    settings.token = "987654321:AAemulated".into();
    let telegram = Telegram::new(settings).unwrap();

    let first = telegram.send(&message_with_button()).await.unwrap();
    let second = telegram.send(&common::message_to(CHAT + 1)).await.unwrap();
    assert!(second > first, "{first} {second}");

    let sent = emulator.history("987654321:AAemulated").await;
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0]["chat_id"], json!(CHAT));
    assert_eq!(sent[0]["text"], json!("<b>Hello</b> &amp; good-bye"));
    assert_eq!(sent[0]["parse_mode"], json!("HTML"));
    let button = json!({ "text": "Pay", "url": "https://example.org/pay" });
    assert_eq!(sent[0]["reply_markup"], json!({ "inline_keyboard": [[button]] }));
    assert_eq!(sent[1]["chat_id"], json!(CHAT + 1));
    assert!(emulator.history("another:token").await.is_empty());
}
