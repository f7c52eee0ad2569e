//! A server whose calls end with the pass's budget.

use std::time::Duration;

use super::{Addition, FoundUser, InboundTag, NodeStatus, OnlineUser, Removal, UserList, Xray, XrayError, XrayUser};
use crate::time::Deadline;

/// How long a call under way may go on after the budget is over or a stop was asked for.
const OVERTIME: Duration = Duration::from_secs(1);
/// How often is looked whether a stop was asked for.
const LOOK: Duration = Duration::from_millis(100);

/// An [`Xray`] whose calls are given up shortly after the pass's time is over, whatever their own deadlines: a list may
/// take a minute, and the pass has to say what it did before it is stopped hard.
#[derive(Debug)]
pub struct Bounded<'a, X> {
    /// The server.
    pub xray: &'a X,
    /// Its name, for errors.
    pub node: &'a str,
    /// The pass's time.
    pub deadline: &'a Deadline,
}

impl<X> Bounded<'_, X> {
    async fn bound<T>(&self, call: impl Future<Output = Result<T, XrayError>>) -> Result<T, XrayError> {
        let over = async {
            while !self.deadline.is_over() {
                tokio::time::sleep(LOOK.min(self.deadline.remaining())).await;
            }
            tokio::time::sleep(OVERTIME).await;
        };
        tokio::select! {
            biased;
            answer = call => answer,
            () = over => Err(XrayError::Unknown {
                node: self.node.to_owned(),
                reason: "given up: the time of the pass is over".to_owned(),
            }),
        }
    }
}

impl<X: Xray> Xray for Bounded<'_, X> {
    async fn list_users(&self, inbound: &InboundTag) -> Result<UserList, XrayError> {
        self.bound(self.xray.list_users(inbound)).await
    }

    async fn find_user(&self, inbound: &InboundTag, email: &str) -> Result<Option<FoundUser>, XrayError> {
        self.bound(self.xray.find_user(inbound, email)).await
    }

    async fn add_user(&self, inbound: &InboundTag, user: &XrayUser) -> Result<Addition, XrayError> {
        self.bound(self.xray.add_user(inbound, user)).await
    }

    async fn remove_user(&self, inbound: &InboundTag, email: &str) -> Result<Removal, XrayError> {
        self.bound(self.xray.remove_user(inbound, email)).await
    }

    async fn status(&self) -> Result<NodeStatus, XrayError> {
        self.bound(self.xray.status()).await
    }

    async fn online(&self, emails: &[String]) -> Result<Option<Vec<OnlineUser>>, XrayError> {
        self.bound(self.xray.online(emails)).await
    }
}
