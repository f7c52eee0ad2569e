//! [`XrayNode`] as the passes see it.

use std::sync::Arc;
use std::time::Duration;

use perennial_core::ports::{
    Addition, FoundUser, InboundTag, NodeStatus, OnlineUser, Removal, UserList, Xray, XrayError, XrayUser,
};
use prost::{Message as _, Name as _};
use tonic::Status;
use uuid::Uuid;

use crate::connection::Connection;
use crate::failure::{Effect, Failure, of_refusal};
use crate::list::{NoList, list_users};
use crate::node::XrayNode;
use crate::refusal::{self, NotOffered, Refusal};
use crate::request::{self, Email};
use crate::wire::handler::{AlterInboundRequest, GetInboundUserRequest, GetInboundUserResponse, ListInboundsRequest};
use crate::wire::stats::SysStatsRequest;
use crate::wire::{Account, User};

impl Xray for XrayNode {
    async fn list_users(&self, inbound: &InboundTag) -> Result<UserList, XrayError> {
        let listed = self.on_connection(async |connection| self.list(connection, inbound).await).await;
        listed.map_err(|failure| of_inbound(inbound, self.error(failure, Effect::Reads)))
    }

    async fn find_user(&self, inbound: &InboundTag, email: &str) -> Result<Option<FoundUser>, XrayError> {
        let email = Email::new(email).map_err(|reason| self.refused(reason))?;
        let request = GetInboundUserRequest { tag: inbound.0.clone(), email: email.as_str().to_owned() };
        let answer = self.on_connection(async |connection| {
            let mut handler = self.handler(connection);
            self.answer(connection, self.call_deadline(), handler.get_inbound_users(request.clone())).await
        });
        let error = |failure| of_inbound(inbound, self.error(failure, Effect::Reads));
        found(answer.await.map_err(error)?.into_inner(), email).map_err(error)
    }

    async fn add_user(&self, inbound: &InboundTag, user: &XrayUser) -> Result<Addition, XrayError> {
        let request = request::addition(inbound, user).map_err(|reason| self.refused(reason))?;
        match self.alter(inbound, request, &user.email).await? {
            None => Ok(Addition::Added),
            Some(Refusal::AlreadyExists) => Ok(Addition::WasPresent),
            Some(other) => Err(of_inbound(inbound, of_refusal(other, self.name()))),
        }
    }

    async fn remove_user(&self, inbound: &InboundTag, email: &str) -> Result<Removal, XrayError> {
        let email = Email::new(email).map_err(|reason| self.refused(reason))?;
        match self.alter(inbound, request::removal(inbound, email), email.as_str()).await? {
            None => Ok(Removal::Removed),
            Some(Refusal::NotFound) => Ok(Removal::WasAbsent),
            Some(other) => Err(of_inbound(inbound, of_refusal(other, self.name()))),
        }
    }

    async fn status(&self) -> Result<NodeStatus, XrayError> {
        let status = self.on_connection(async |connection| {
            let uptime = self.uptime(connection).await?;
            Ok(NodeStatus { uptime, inbounds: self.inbounds(connection).await? })
        });
        status.await.map_err(|failure| self.error(failure, Effect::Reads))
    }

    async fn online(&self, emails: &[String]) -> Result<Option<Vec<OnlineUser>>, XrayError> {
        let online = self.on_connection(async |connection| self.online_on(connection, emails).await).await;
        online.map_err(|failure| self.error(failure, Effect::Reads))
    }
}

impl XrayNode {
    fn error(&self, failure: Failure, effect: Effect) -> XrayError {
        failure.into_error(self.name(), effect)
    }

    fn refused(&self, reason: String) -> XrayError {
        XrayError::Refused { node: self.name().to_owned(), reason }
    }

    /// Sends a request that changes something: none when it was done, else the server's refusal.
    async fn alter(
        &self,
        inbound: &InboundTag,
        request: AlterInboundRequest,
        email: &str,
    ) -> Result<Option<Refusal>, XrayError> {
        let answer = self.on_connection(async |connection| {
            // One deadline for both: the question is part of the call.
            let deadline = self.call_deadline();
            self.check_vless(connection, inbound, deadline).await?;
            let mut handler = self.handler(connection);
            self.answer(connection, deadline, handler.alter_inbound(request.clone())).await
        });
        match answer.await {
            Ok(_) => Ok(None),
            Err(Failure::Refused(status)) => Ok(Some(refusal::read(&status, email))),
            Err(failure) => Err(of_inbound(inbound, self.error(failure, Effect::Writes))),
        }
    }

    async fn list(&self, connection: &Arc<Connection>, inbound: &InboundTag) -> Result<UserList, Failure> {
        let bytes_max = self.settings.max_list_bytes;
        let list = async {
            match list_users(connection.channel(), inbound, bytes_max).await {
                Ok(users) => Ok(Ok(users)),
                Err(NoList::Status(status)) => Err(status),
                Err(NoList::Misconfigured(reason)) => Ok(Err(Failure::Misconfigured(reason))),
                Err(NoList::Broken(reason)) => Ok(Err(Failure::NoAnswer(reason))),
            }
        };
        self.answer(connection, self.list_deadline(), list).await?
    }

    pub(crate) async fn uptime(&self, connection: &Arc<Connection>) -> Result<Duration, Failure> {
        let mut stats = self.stats(connection);
        let answer = self.answer(connection, self.call_deadline(), stats.get_sys_stats(SysStatsRequest {})).await?;
        Ok(Duration::from_secs(answer.into_inner().uptime.into()))
    }

    pub(crate) async fn inbounds(&self, connection: &Arc<Connection>) -> Result<Option<Vec<InboundTag>>, Failure> {
        let mut handler = self.handler(connection);
        let question = handler.list_inbounds(ListInboundsRequest { is_only_tags: true });
        match self.answer(connection, self.list_deadline(), question).await {
            Ok(answer) => {
                Ok(Some(answer.into_inner().inbounds.into_iter().map(|inbound| InboundTag(inbound.tag)).collect()))
            }
            Err(Failure::Refused(status)) if lacks_call(&status) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// Says which inbound it is that the settings do not fit, where the reason does not.
pub(crate) fn of_inbound(inbound: &InboundTag, error: XrayError) -> XrayError {
    match error {
        XrayError::Misconfigured { node, reason } if !reason.contains(&format!("{:?}", inbound.0)) => {
            XrayError::Misconfigured { node, reason: format!("inbound {}: {reason}", inbound.0) }
        }
        other => other,
    }
}

/// Whether the server is too old for this call.
pub(crate) fn lacks_call(status: &Status) -> bool {
    matches!(refusal::read(status, ""), Refusal::NotOffered(NotOffered::Method(_)))
}

/// The user asked for. A server that has none of this e-mail answers with one empty user, not with none.
fn found(answer: GetInboundUserResponse, email: Email<'_>) -> Result<Option<FoundUser>, Failure> {
    let Some(user) = answer.users.into_iter().find(|user| !user.email.is_empty()) else { return Ok(None) };
    let lower = user.email.to_lowercase();
    if lower != email.as_str() {
        return Err(Failure::NoAnswer(format!("asked for {:?}, it answered about somebody else", email.as_str())));
    }
    let (uuid, flow) = account(user)?;
    Ok(Some(FoundUser { email: lower, uuid, flow }))
}

fn account(user: User) -> Result<(Option<Uuid>, String), Failure> {
    let Some(typed) = user.account else { return Ok((None, String::new())) };
    if typed.r#type != Account::full_name() {
        return Err(Failure::Misconfigured(format!("its users are no VLESS users but {:?}", typed.r#type)));
    }
    let malformed = |_| Failure::NoAnswer("it sent a malformed account".to_owned());
    let account = Account::decode(typed.value.as_slice()).map_err(malformed)?;
    Ok((Uuid::try_parse(&account.id).ok(), account.flow))
}
