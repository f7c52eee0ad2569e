//! Errors of the transport, in words and by what they prove.

use perennial_core::causes::with_causes;
use perennial_core::ports::MessengerError;

use crate::token::Token;

/// Puts an error into words. **The one place where an error of the HTTP library becomes text**: it takes the URL off,
/// which holds the token.
pub(crate) fn words(error: reqwest::Error) -> String {
    with_causes(&error.without_url())
}

/// The meaning of an error that came instead of an answer.
///
/// A request leaves when a connection stands, and the library says of an error whether it was met on the way there: no
/// such name, refused, no TLS, a proxy that lets nobody through. Everything else may have happened after the request had
/// left.
pub(crate) fn before_an_answer(error: reqwest::Error, token: &Token) -> MessengerError {
    let certainly_not_sent = error.is_connect() || error.is_builder();
    let reason = token.mask(&words(error));
    if certainly_not_sent { MessengerError::Transient { reason } } else { MessengerError::Unknown { reason } }
}

#[cfg(test)]
mod tests {
    use reqwest::Client;

    use super::words;

    #[tokio::test]
    async fn the_words_of_an_error_are_without_its_url() {
        let settings = crate::TelegramSettings::new("1:secret".into());
        let client: Client = crate::client::build(&settings, None).unwrap();
        let error = client.get("http://127.0.0.1:9/bot1:secret/sendMessage").send().await.unwrap_err();
        assert!(format!("{error}").contains("secret"), "the library itself does print it");
        let text = words(error);
        assert!(text.contains("refused") && !text.contains("secret"), "{text}");
    }
}
