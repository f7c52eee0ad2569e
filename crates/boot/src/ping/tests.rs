use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Instant;

use super::*;

/// Answers every request with `status` and tells its line and body.
fn server(status: &'static str) -> (SocketAddr, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Told before it is answered: who has the answer may look. The test is over when nobody listens any more.
            drop(seen.send(request(&stream)));
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, requests)
}

fn request(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (line.trim().to_owned(), String::from_utf8(body).unwrap())
}

/// A server that accepts and never answers.
fn silent_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    address
}

fn url(address: SocketAddr, rest: &str) -> SecretString {
    format!("http://{address}/ping/hunter2{rest}").into()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn start_success_and_failure_are_reported() {
    let run_id = RunId::new();
    let post = |below: &str| format!("POST /ping/hunter2{below}?create=1&rid={run_id} HTTP/1.1");
    for (exit, is_success, end) in [
        (Exit::Done, true, post("")),
        (Exit::Stopped, true, post("")),
        (Exit::Partial, false, post("/3")),
        (Exit::Unavailable, false, post("/69")),
    ] {
        let (address, requests) = server("200 OK");
        block_on(async {
            let ping = Ping::start(&url(address, "?create=1"), run_id).unwrap();
            // The pass is at work.
            tokio::time::sleep(Duration::from_millis(300)).await;
            ping.finish(exit, is_success, LONG).await;
        });
        let lines: Vec<String> = requests.try_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [post("/start"), end]);
    }
}

#[test]
fn a_server_that_hangs_delays_nothing_but_the_end_and_that_by_two_seconds() {
    let address = silent_server();
    block_on(async {
        let began = Instant::now();
        let ping = Ping::start(&url(address, ""), RunId::new()).unwrap();
        tokio::task::yield_now().await;
        assert!(began.elapsed() < Duration::from_millis(500), "the start was waited for");
        let ended = Instant::now();
        ping.finish(Exit::Done, true, LONG).await;
        assert!(ended.elapsed() < Duration::from_millis(2_500), "{:?}", ended.elapsed());
        let ping = Ping::start(&url(address, ""), RunId::new()).unwrap();
        let ended = Instant::now();
        ping.finish(Exit::Done, true, Duration::from_millis(100)).await;
        assert!(ended.elapsed() < Duration::from_millis(600), "the last moment was passed");
    });
}

#[test]
fn what_goes_wrong_is_told_without_the_address() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (refusing, _requests) = server("404 Not Found");
    for (address, problem) in [(closed, "Connection refused"), (refusing, "404 Not Found")] {
        let told = block_on(async {
            let (end, ended) = oneshot::channel();
            end.send(End { failed_with: None, body: String::new() }).unwrap();
            report(parse(&url(address, "")).unwrap(), ended).await.unwrap_or_default()
        });
        assert!(told.contains(problem) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn only_addresses_of_the_web_are_taken() {
    for (url, is_taken) in [
        ("https://hc.example/a", true),
        ("http://h:1", true),
        ("ftp://h/a", false),
        ("hc.example/a", false),
        ("", false),
    ] {
        assert_eq!(check_url(&url.into(), "--ping-url").is_ok(), is_taken, "{url}");
    }
}
