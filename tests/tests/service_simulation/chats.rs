//! The chats of all customers: a fake Telegram behind which some have blocked the bot, and which fails as told. It keeps
//! for each notice how often it was taken, and how often nobody learnt whether it was.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use perennial_core::db::ClaimedNotice;
use perennial_core::delivery::Texts;
use perennial_core::ports::{Button, Message, Messenger, MessengerError};
use perennial_core::time::{Clock, Deadline, Timestamp};
use perennial_testkit::TestClock;
use perennial_testkit::fake_telegram::{FakeMessenger, Fault, Limits};

use crate::random::Random;

/// What became of the attempts to send a notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) taken: u32,
    /// Of these, so many without an answer.
    pub(crate) lost: u32,
    /// Attempts of which nobody learnt whether they were taken.
    pub(crate) unknown: u32,
}

pub(crate) struct Chats {
    clock: Arc<TestClock>,
    telegram: RefCell<FakeMessenger>,
    pub(crate) blocked: RefCell<HashSet<i64>>,
    trouble: RefCell<Option<Random>>,
    pub(crate) sent: RefCell<HashMap<i64, Sent>>,
    /// The pass is told to stop after so many messages.
    cut: RefCell<Option<(usize, Deadline)>>,
    pub(crate) messages: Cell<u64>,
    pub(crate) lost: Cell<u64>,
}

/// Only the id of the notice.
pub(crate) struct Ids;

impl Texts for Ids {
    fn render(&self, notice: &ClaimedNotice, _now: Timestamp) -> Result<(String, Option<Button>), String> {
        Ok((notice.id.to_string(), None))
    }
}

fn telegram(clock: Arc<TestClock>) -> FakeMessenger {
    let began = clock.now();
    FakeMessenger::new(Limits::DOCUMENTED, move || Duration::try_from(clock.now() - began).unwrap_or_default())
}

impl Chats {
    pub(crate) fn new(clock: Arc<TestClock>) -> Self {
        Self {
            telegram: RefCell::new(telegram(clock.clone())),
            clock,
            blocked: RefCell::default(),
            trouble: RefCell::default(),
            sent: RefCell::default(),
            cut: RefCell::default(),
            messages: Cell::default(),
            lost: Cell::default(),
        }
    }

    pub(crate) fn is_blocked(&self, chat: i64) -> bool {
        self.blocked.borrow().contains(&chat)
    }

    pub(crate) fn get_into_trouble(&self, random: Random) {
        *self.trouble.borrow_mut() = Some(random);
    }

    /// Another server, as good as new: nothing goes wrong, and what the last one was sent is forgotten.
    pub(crate) fn heal(&self) {
        *self.trouble.borrow_mut() = None;
        *self.telegram.borrow_mut() = telegram(self.clock.clone());
    }

    pub(crate) fn cut_after(&self, messages: usize, deadline: &Deadline) {
        *self.cut.borrow_mut() = Some((messages, deadline.clone()));
    }

    pub(crate) fn uncut(&self) {
        *self.cut.borrow_mut() = None;
    }

    /// Calls refused since the last [`heal`](Self::heal) because they came too fast.
    pub(crate) fn throttled(&self) -> u64 {
        self.telegram.borrow().throttled()
    }

    fn fault(&self, chat: i64) -> Option<Fault> {
        if self.is_blocked(chat) {
            return Some(Fault::BLOCKED);
        }
        let mut trouble = self.trouble.borrow_mut();
        let random = trouble.as_mut()?;
        Some(match random.between(1, 60) {
            1 => Fault::SERVER_ERROR,
            2 => Fault::Page(502),
            3 => Fault::Page(504),
            4 => Fault::throttle(2),
            5 => Fault::Cut { taken: false },
            6 => Fault::Cut { taken: true },
            7 => Fault::Garbage,
            8 => Fault::HangBeforeAnswer { taken: true },
            _ => return None,
        })
    }
}

impl Messenger for Chats {
    async fn send(&self, message: &Message) -> Result<i64, MessengerError> {
        if let Some((left, deadline)) = self.cut.borrow_mut().as_mut() {
            *left = left.saturating_sub(1);
            if *left == 0 {
                deadline.stop();
            }
        }
        let telegram = self.telegram.borrow().clone();
        let fault = self.fault(message.chat_id);
        if let Some(fault) = &fault {
            telegram.fail_call(1, fault.clone());
        }
        let answer = telegram.send(message).await;
        let mut sent = self.sent.borrow_mut();
        let sent = sent.entry(message.html.parse().unwrap_or_default()).or_default();
        let taken = answer.is_ok() || fault.is_some_and(|fault| fault.is_taken());
        sent.taken += u32::from(taken);
        sent.lost += u32::from(taken && answer.is_err());
        sent.unknown += u32::from(matches!(answer, Err(MessengerError::Unknown { .. })));
        self.messages.set(self.messages.get() + u64::from(taken));
        self.lost.set(self.lost.get() + u64::from(taken && answer.is_err()));
        answer
    }
}
