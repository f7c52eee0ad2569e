//! A messenger that does something of its own at each message, before or after the real thing.

use std::pin::Pin;

use perennial_core::ports::{Message, Messenger, MessengerError};
use perennial_testkit::fake_telegram::FakeMessenger;

type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Works before the message is taken, and before its answer comes.
pub struct Hooked<'a, B, A> {
    pub messenger: &'a FakeMessenger,
    pub before: B,
    pub after: A,
}

impl<'a, B, A> Messenger for Hooked<'a, B, A>
where
    B: Fn(&Message) -> Work<'a>,
    A: Fn(&Message) -> Work<'a>,
{
    async fn send(&self, message: &Message) -> Result<i64, MessengerError> {
        (self.before)(message).await;
        let answer = self.messenger.send(message).await;
        (self.after)(message).await;
        answer
    }
}

/// Nothing to do.
pub fn nothing<'a>(_: &Message) -> Work<'a> {
    Box::pin(async {})
}
