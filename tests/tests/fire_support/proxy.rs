//! A way to a server that is slow byte by byte, breaks, or leads nowhere.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What happens on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Answers come a byte at a time, each well within any limit of a single read.
    Drips,
    /// Answers break off after so many bytes.
    Breaks(usize),
    /// Connections are taken, and nothing ever comes.
    Swallows,
}

/// Between two bytes that drip.
const DRIP: Duration = Duration::from_millis(100);

/// Listens on a port of this machine and carries to `to` (`unix:/path` or `http://address`); answers where it listens. Its
/// threads end with the process.
pub fn detour(to: &str, way: Way) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at: SocketAddr = listener.local_addr().unwrap();
    let to = to.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let to = to.clone();
            std::thread::spawn(move || carry(client, &to, way));
        }
    });
    format!("http://{at}")
}

fn carry(client: TcpStream, to: &str, way: Way) {
    if way == Way::Swallows {
        let mut client = client;
        // Until the client has had enough.
        let mut bytes = [0; 4096];
        while matches!(client.read(&mut bytes), Ok(1..)) {}
        return;
    }
    if let Some(path) = to.strip_prefix("unix:") {
        let server = UnixStream::connect(path).unwrap();
        both_ways(&client, server.try_clone().unwrap(), server, way);
    } else {
        let server = TcpStream::connect(to.trim_start_matches("http://")).unwrap();
        both_ways(&client, server.try_clone().unwrap(), server, way);
    }
}

fn both_ways(client: &TcpStream, mut from_server: impl Read, mut to_server: impl Write + Send + 'static, way: Way) {
    let mut from_client = client.try_clone().unwrap();
    let mut to_client = client.try_clone().unwrap();
    // Either side may go at any time; then the carrying is over.
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    let mut carried = 0;
    let mut byte = [0; 1];
    while matches!(from_server.read(&mut byte), Ok(1)) {
        carried += 1;
        match way {
            Way::Breaks(after) if carried > after => break,
            Way::Drips => std::thread::sleep(DRIP),
            _ => {}
        }
        if to_client.write_all(&byte).is_err() {
            break;
        }
    }
    // It may be closed already.
    drop(client.shutdown(Shutdown::Both));
}
