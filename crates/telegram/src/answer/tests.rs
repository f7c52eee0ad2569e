use MessengerError::{ChatMoved, Refused, Throttled, Transient, Unauthorised, Unknown, Unreachable};

use super::*;

const TOKEN: &str = "1:secretsecretsecret";

fn token() -> Token {
    Token::new(&TOKEN.into()).unwrap()
}

fn answer(status: u16, header: Option<&str>, body: &str) -> Result<i64, MessengerError> {
    let body = Ok(body.as_bytes().to_vec());
    Answer { status, retry_after: header.map(str::to_owned), body }.meaning(&token())
}

fn kind(result: &Result<i64, MessengerError>) -> &'static str {
    match result {
        Ok(_) => "sent",
        Err(Throttled { .. }) => "throttled",
        Err(ChatMoved { .. }) => "moved",
        Err(Unreachable { .. }) => "unreachable",
        Err(Refused { .. }) => "refused",
        Err(Unauthorised { .. }) => "unauthorised",
        Err(Transient { .. }) => "transient",
        Err(Unknown { .. }) => "unknown",
    }
}

fn refusal(code: u16, description: &str) -> String {
    format!(r#"{{"ok":false,"error_code":{code},"description":"{description}"}}"#)
}

#[test]
fn every_text_of_the_api_has_its_meaning() {
    for (code, description, expected) in [
        (403, "Forbidden: bot was blocked by the user", "unreachable"),
        (403, "Forbidden: user is deactivated", "unreachable"),
        (403, "Forbidden: bot can't initiate conversation with a user", "unreachable"),
        (403, "Forbidden: bot was kicked from the supergroup chat", "unreachable"),
        (403, "Forbidden: a kind that is not known yet", "unreachable"),
        (400, "Bad Request: chat not found", "unreachable"),
        (400, "Bad Request: private chat not found", "unreachable"),
        (400, "Bad Request: PEER_ID_INVALID", "unreachable"),
        (400, "Bad Request: not enough rights to send text messages to the chat", "unreachable"),
        (400, "Bad Request: group chat was upgraded to a supergroup chat", "unreachable"),
        (400, "Bad Request: message is too long", "refused"),
        (400, "Bad Request: message text is empty", "refused"),
        (400, "Bad Request: chat_id is empty", "refused"),
        (400, "Bad Request: can't parse entities: Unsupported start tag", "refused"),
        (400, "Bad Request: BUTTON_URL_INVALID", "refused"),
        (400, "Bad Request: a kind that is not known yet", "refused"),
        (413, "Request Entity Too Large", "refused"),
        (401, "Unauthorized", "unauthorised"),
        (404, "Not Found", "unauthorised"),
        (408, "Request Timeout", "transient"),
        (409, "Conflict: terminated by other getUpdates request", "transient"),
        (429, "Too Many Requests", "throttled"),
        (500, "Internal Server Error: restart", "transient"),
        (502, "Bad Gateway", "transient"),
    ] {
        assert_eq!(kind(&answer(code, None, &refusal(code, description))), expected, "{code} {description}");
    }
}

#[test]
fn only_the_api_itself_stops_a_run_or_marks_a_user() {
    let page = "<html><h1>Nope</h1></html>";
    for (status, body, expected) in [
        (301, page, "transient"),
        (400, page, "transient"),
        (401, page, "transient"),
        (403, page, "transient"),
        (404, page, "transient"),
        (407, page, "transient"),
        (429, page, "throttled"),
        (500, page, "transient"),
        (502, page, "transient"),
        (503, "", "transient"),
        (504, page, "unknown"),
        (500, r#"{"message":"not the API's own JSON"}"#, "transient"),
        (403, r#"{"ok":"no"}"#, "transient"),
        (200, page, "unknown"),
        (200, "", "unknown"),
        (200, "{", "unknown"),
        (200, "[]", "unknown"),
        (200, r#"{"ok":true}"#, "unknown"),
        (200, r#"{"ok":true,"result":true}"#, "unknown"),
        (200, r#"{"ok":true,"result":{"message_id":"7"}}"#, "unknown"),
        (204, "", "unknown"),
        (500, r#"{"ok":true,"result":{"message_id":7}}"#, "unknown"),
        (200, r#"{"ok":true,"result":{"message_id":7}}"#, "sent"),
        (200, r#"{"ok":false}"#, "transient"),
        (200, r#"{"ok":false,"error_code":403,"description":"Forbidden"}"#, "unreachable"),
    ] {
        assert_eq!(kind(&answer(status, None, body)), expected, "{status} {body}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_judged_by_its_status() {
    for (status, expected) in [(200, "unknown"), (403, "transient"), (429, "throttled"), (502, "transient")] {
        let answer = Answer { status, retry_after: None, body: Err("reset".to_owned()) };
        assert_eq!(kind(&answer.meaning(&token())), expected, "{status}");
    }
}

#[test]
fn the_wait_is_the_longest_that_was_asked_for() {
    let body = |retry_after: &str| format!(r#"{{"ok":false,"error_code":429,"parameters":{{{retry_after}}}}}"#);
    for (in_body, header, seconds) in [
        (r#""retry_after":7"#, None, 7),
        (r#""retry_after":7"#, Some("7"), 7),
        (r#""retry_after":7"#, Some("9"), 9),
        (r#""retry_after":"7""#, None, 7),
        ("", Some(" 9 "), 9),
        ("", Some("Wed, 21 Oct 2026 07:28:00 GMT"), 5),
        ("", None, 5),
        (r#""retry_after":-1"#, None, 5),
        (r#""retry_after":1.5"#, None, 5),
        (r#""retry_after":0"#, None, 1),
        (r#""retry_after":9223372036854775807"#, None, 86_400),
    ] {
        let wait = Duration::from_secs(seconds);
        assert_eq!(answer(429, header, &body(in_body)), Err(Throttled { wait }), "{in_body} {header:?}");
    }
}

#[test]
fn a_moved_chat_says_where_to() {
    let moved = |to: &str| {
        format!(
            r#"{{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat",
                "parameters":{{"migrate_to_chat_id":{to}}}}}"#
        )
    };
    assert_eq!(answer(400, None, &moved("-1001234567890")), Err(ChatMoved { to: -1_001_234_567_890 }));
    assert_eq!(answer(400, None, &moved("\"-100\"")), Err(ChatMoved { to: -100 }));
}

#[test]
fn a_server_that_repeats_the_path_is_masked() {
    for (status, body) in [
        (404, refusal(404, &format!("Not Found: /bot{TOKEN}/sendMessage"))),
        (404, format!("<p>/bot{TOKEN}/sendMessage was not found</p>")),
        (500, refusal(500, &format!("/bot{TOKEN}/sendMessage"))),
    ] {
        let error = answer(status, None, &body).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}
