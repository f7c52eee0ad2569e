//! The bot's token: checked once, shown never.

use secrecy::{ExposeSecret as _, SecretString};

use crate::settings::TelegramSettingsError;

/// What stands for the token in a text.
const MASK: &str = "[token]";
/// Longer texts of a server are cut: they go into a log line and a column.
const MAX_REASON_CHARACTERS: usize = 300;
/// The name of a bot whose token does not begin with a number, as those of stand-ins for Telegram may not.
const NAMELESS: &str = "bot";

pub(crate) struct Token {
    secret: SecretString,
    bot: String,
}

impl Token {
    /// Takes what can stand in a path as it is. Real tokens look like `123456789:AA…`; the form is not checked, because
    /// stand-ins for Telegram use others. Blanks around it come from files and are dropped.
    pub(crate) fn new(given: &SecretString) -> Result<Self, TelegramSettingsError> {
        let token = given.expose_secret().trim();
        if token.is_empty() {
            return Err(TelegramSettingsError::EmptyToken);
        }
        if let Some(position) = token.chars().position(|character| !is_plain(character)) {
            return Err(TelegramSettingsError::BadToken { position: position + 1 });
        }
        let number = token.split_once(':').map_or("", |(number, _)| number);
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let bot = if is_number { number } else { NAMELESS }.to_owned();
        Ok(Self { secret: token.into(), bot })
    }

    /// For the endpoint alone.
    pub(crate) fn expose(&self) -> &str {
        self.secret.expose_secret()
    }

    pub(crate) fn bot(&self) -> &str {
        &self.bot
    }

    /// A text from outside, fit for a log: without the token, on one line, not long.
    pub(crate) fn mask(&self, text: &str) -> String {
        text.replace(self.expose(), MASK)
            .chars()
            .map(|character| if character.is_control() { ' ' } else { character })
            .take(MAX_REASON_CHARACTERS)
            .collect()
    }
}

/// Characters that a URL's path keeps as they are.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~:@!$&()*+,;=".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Result<Token, TelegramSettingsError> {
        Token::new(&text.into())
    }

    #[test]
    fn only_what_cannot_be_in_a_path_is_refused() {
        for good in ["123:AA-bb_cc", "  123:AA\n", "anything.goes~here", "t"] {
            assert!(token(good).is_ok(), "{good}");
        }
        for (bad, position) in
            [("12 3", 3), ("123:a/b", 6), ("a?b", 2), ("a#", 2), ("a%41", 2), ("ключ", 1), ("a\0", 2)]
        {
            assert_eq!(token(bad).err(), Some(TelegramSettingsError::BadToken { position }), "{bad}");
        }
        assert_eq!(token(" \n").err(), Some(TelegramSettingsError::EmptyToken));
    }

    #[test]
    fn a_bot_is_named_by_what_is_no_secret() {
        assert_eq!(token("123456:AAsecret").map(|token| token.bot().to_owned()), Ok("123456".to_owned()));
        for nameless in ["secret", ":secret", "secret:more"] {
            assert_eq!(token(nameless).map(|token| token.bot().to_owned()), Ok("bot".to_owned()));
        }
    }

    #[test]
    fn a_text_from_outside_is_masked_and_cut() {
        let masked = token("1:secret").map(|token| token.mask(&format!("/bot1:secret/x\n{}", "y".repeat(1_000))));
        let masked = masked.unwrap_or_default();
        assert!(masked.starts_with("/bot[token]/x y"));
        assert_eq!(masked.chars().count(), MAX_REASON_CHARACTERS);
    }
}
