//! What a server means by its refusals.
//!
//! HandlerService gives every refusal the same code, `UNKNOWN`, and only the text tells them apart. Two different ones
//! end in "not found", so texts are compared whole: a wrong tag must never be taken for a user who is gone already.
//! Seen on v26.7.28 and v26.10.10; in the sources unchanged since v1.8.0.

use tonic::{Code, Status};

/// Texts beyond this are cut: they go into logs.
const TEXT_CHARS_MAX: usize = 300;
/// Hexadecimal digits in a row, dashes left out, from which on a word may be a UUID.
const SECRET_DIGITS: usize = 20;

/// A server's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The e-mail of the request is on the inbound already.
    AlreadyExists,
    /// The e-mail of the request is not on the inbound.
    NotFound,
    /// An answer that says the inbound is of this protocol: to a removal without an e-mail.
    EmptyEmail {
        /// As the server's path has it, such as `vless` or `vmess/inbound`.
        protocol: String,
    },
    /// What nobody of this name can be asked: no such map of addresses.
    NoSuchName,
    /// The call, or the whole service, is not offered.
    NotOffered(NotOffered),
    /// Settings and server do not fit; what to set right.
    Misconfigured(String),
    /// Anything else the server says about the request: a defect of ours.
    Other(String),
    /// A status that says nothing about the request.
    NoAnswer(String),
}

/// What a server does not offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotOffered {
    /// The service is not among those of its API.
    Service(String),
    /// The server is too old; its text.
    Method(String),
}

/// Reads the refusal of a request about `email` (empty: about nobody).
pub(crate) fn read(status: &Status, email: &str) -> Refusal {
    let text = status.message();
    match status.code() {
        Code::Unknown => read_text(text, email),
        Code::Unimplemented => Refusal::NotOffered(match text.strip_prefix("unknown service ") {
            Some(service) => NotOffered::Service(service.rsplit('.').next().unwrap_or(service).to_owned()),
            None => NotOffered::Method(shown(text)),
        }),
        Code::NotFound => Refusal::NoSuchName,
        Code::OutOfRange => Refusal::Misconfigured(format!("the answer is beyond max_list_bytes: {}", shown(text))),
        Code::PermissionDenied | Code::Unauthenticated => {
            Refusal::Misconfigured(format!("what stands in front of its API wants to know who asks: {}", shown(text)))
        }
        Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists => Refusal::Other(shown(text)),
        code => Refusal::NoAnswer(format!("{}: {}", code.description(), shown(text))),
    }
}

fn read_text(text: &str, email: &str) -> Refusal {
    // First, since what follows is the tag as it was sent, whatever that says.
    if let Some((_, tag)) = text.split_once("handler not found: ") {
        return Refusal::Misconfigured(format!("it has no inbound tagged {tag:?}"));
    }
    let (path, own) = text.rsplit_once(": ").unwrap_or(("", text));
    if own == "proxy is not a UserManager" {
        return Refusal::Misconfigured("the inbound is of a kind that has no users".to_owned());
    }
    if own == "Email must not be empty." || own == "email must not be empty" {
        let protocol = path.rsplit_once("proxy/").map_or(path, |(_, protocol)| protocol);
        return Refusal::EmptyEmail { protocol: protocol.to_owned() };
    }
    let about = own.strip_prefix("User ").and_then(|rest| rest.strip_prefix(email));
    match about {
        Some(" already exists.") => Refusal::AlreadyExists,
        Some(" not found.") => Refusal::NotFound,
        _ => Refusal::Other(shown(text)),
    }
}

/// A server's text, fit for a log: short, of one line, without anything that may be a UUID.
pub(crate) fn shown(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let masked: Vec<&str> = words.map(|word| if may_be_secret(word) { "(masked)" } else { word }).collect();
    // Cut last: half a UUID would not be known as one.
    masked.join(" ").chars().take(TEXT_CHARS_MAX).collect()
}

fn may_be_secret(word: &str) -> bool {
    word.split(|c: char| !(c.is_ascii_hexdigit() || c == '-'))
        .any(|run| run.bytes().filter(u8::is_ascii_hexdigit).count() >= SECRET_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(text: &str) -> Refusal {
        read(&Status::unknown(text), "alice")
    }

    #[test]
    fn only_the_whole_text_about_the_user_sent_counts() {
        assert_eq!(unknown("proxy/vless: User alice already exists."), Refusal::AlreadyExists);
        assert_eq!(unknown("proxy/vless: User alice not found."), Refusal::NotFound);
        assert_eq!(unknown("v2ray.com/core/proxy/vless: User alice not found."), Refusal::NotFound);
        for text in [
            "proxy/vless: User bob not found.",
            "proxy/vless: User alice2 not found.",
            "proxy/vless: User alice not found",
            "proxy/vless: User alice not found. Really.",
            "proxy/vless: user alice not found.",
            "app/proxyman/command: failed to parse user > proto: not found",
            "app/proxyman/command: unknown operation > proto: not found",
        ] {
            assert!(matches!(unknown(text), Refusal::Other(_)), "{text}");
        }
    }

    #[test]
    fn a_wrong_tag_is_no_missing_user_whatever_the_tag_says() {
        for tag in ["nope", "", "User alice not found.", "x: User alice not found."] {
            let text = format!(
                "app/proxyman/command: failed to get handler: {tag} > app/proxyman/inbound: handler not found: {tag}"
            );
            assert_eq!(unknown(&text), Refusal::Misconfigured(format!("it has no inbound tagged {tag:?}")));
        }
    }

    #[test]
    fn the_same_texts_under_another_code_mean_nothing() {
        let status = Status::internal("proxy/vless: User alice not found.");
        assert!(matches!(read(&status, "alice"), Refusal::NoAnswer(_)));
    }

    #[test]
    fn the_protocol_is_told_by_the_refusal_of_an_empty_e_mail() {
        for (text, protocol) in [
            ("proxy/vless: Email must not be empty.", "vless"),
            ("v2ray.com/core/proxy/vless: Email must not be empty.", "vless"),
            ("proxy/vmess/inbound: Email must not be empty.", "vmess/inbound"),
            ("proxy/trojan: Email must not be empty.", "trojan"),
            ("proxy/shadowsocks_2022: email must not be empty", "shadowsocks_2022"),
        ] {
            assert_eq!(unknown(text), Refusal::EmptyEmail { protocol: protocol.to_owned() });
        }
    }

    #[test]
    fn what_the_settings_have_to_mend_is_said() {
        let unimplemented = |text| read(&Status::unimplemented(text), "");
        assert_eq!(
            unimplemented("unknown service xray.app.proxyman.command.HandlerService"),
            Refusal::NotOffered(NotOffered::Service("HandlerService".to_owned()))
        );
        let method = "unknown method GetInboundUsers for service xray.app.proxyman.command.HandlerService";
        assert_eq!(unimplemented(method), Refusal::NotOffered(NotOffered::Method(method.to_owned())));
        let Refusal::Misconfigured(text) = read(&Status::out_of_range("found 9 bytes"), "") else { panic!() };
        assert!(text.contains("max_list_bytes"), "{text}");
        let Refusal::Misconfigured(_) = unknown("app/proxyman/command: proxy is not a UserManager") else { panic!() };
    }

    #[test]
    fn a_uuid_in_a_text_is_masked() {
        let text = "failed to parse ID > common/uuid: invalid UUID: 4f1b0c8e-7d7d-4b52-9d0e-2f6f7e6a1c33";
        assert_eq!(shown(text), "failed to parse ID > common/uuid: invalid UUID: (masked)");
        assert_eq!(shown("id=4f1b0c8e7d7d4b529d0e2f6f7e6a1c33, why?"), "(masked) why?");
        assert_eq!(shown("found 9388981 bytes\nthe limit is: 4194304"), "found 9388981 bytes the limit is: 4194304");
    }
}
