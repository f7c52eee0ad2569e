//! Whether a server takes sessions yet: the first exchange of PostgreSQL's protocol, without a driver, so that a
//! cluster can be started inside and outside an asynchronous runtime.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Protocol 3.0, which every supported server speaks.
const PROTOCOL: i32 = 3 << 16;
/// A server that takes a connection answers at once; a longer silence counts as "not yet".
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// First byte of the server's answer when the session was let in.
const AUTHENTICATION: u8 = b'R';

/// Opens a session as `user` and leaves again. Says no while nothing listens and while the server is still starting up.
pub(super) fn answers(socket: &Path, user: &str) -> bool {
    try_session(socket, user).unwrap_or(false)
}

fn try_session(socket: &Path, user: &str) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(&startup_message(user))?;
    let mut first = [0];
    stream.read_exact(&mut first)?;
    let let_in = first[0] == AUTHENTICATION;
    if let_in {
        // `Terminate`, so that the log has no line about a lost connection.
        stream.write_all(&[b'X', 0, 0, 0, 4])?;
    }
    Ok(let_in)
}

fn startup_message(user: &str) -> Vec<u8> {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    for word in ["user", user, "database", "postgres"] {
        body.extend_from_slice(word.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}
