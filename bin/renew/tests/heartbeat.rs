//! What a heartbeat server gets from the built program: start, end with exit code, and the last lines of the log.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Line and body of a request, answered with 200.
fn answer(stream: TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_lowercase());
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK";
    reader.into_inner().write_all(answer).unwrap();
    (head[0].clone(), String::from_utf8(body).unwrap())
}

#[test]
fn a_failed_pass_is_reported_with_its_exit_code_and_the_end_of_its_log_and_without_secrets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // What should be the database takes the connection, and closes it as soon as the start was told.
    let database = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = database.local_addr().unwrap();
    let (seen, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(seen.send(answer(stream.unwrap())));
            drop(database.accept());
        }
    });
    let output = Command::new(env!("CARGO_BIN_EXE_renew"))
        .env_clear()
        .env("DATABASE_URL", format!("postgresql://renew:hunter2@{nowhere}/shop?sslmode=disable"))
        .args(["--config", "/dev/null", "--output", "json", "--ping-url", &format!("http://{address}/ping/hunter3")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let run_id = summary["run_id"].as_str().unwrap();

    let (start, _) = requests.recv_timeout(LIMIT).unwrap();
    assert_eq!(start, format!("post /ping/hunter3/start?rid={run_id} http/1.1"));
    let (end, log) = requests.recv_timeout(LIMIT).unwrap();
    assert_eq!(end, format!("post /ping/hunter3/69?rid={run_id} http/1.1"));
    assert!(log.lines().last().unwrap().contains("renew ends"), "{log}");
    assert!(log.contains("renew begins") && !log.contains("hunter"), "{log}");
}
