//! The requests that change something. They are built here and nowhere else.
//!
//! A request without an operation, or with an account of another protocol than the inbound's, ends the whole server
//! process. Neither can be built: there are two constructors, both fill in all there is, and an addition is only sent
//! to an inbound that said it is VLESS.

use perennial_core::ports::{InboundTag, XrayUser};
use prost::{Message, Name};
use uuid::Uuid;

use crate::wire::handler::{AddUserOperation, AlterInboundRequest, RemoveUserOperation};
use crate::wire::{Account, TypedMessage, User};

/// Longest e-mail sent. Ours have some twenty characters.
const EMAIL_BYTES_MAX: usize = 128;
/// Longest flow sent; the only one in use is `xtls-rprx-vision`.
const FLOW_BYTES_MAX: usize = 64;

/// Xray's key of a user, as we send it.
///
/// Never empty: a user without an e-mail can connect but is neither listed nor removable. Only characters that mean
/// nothing to anybody: `>>>` would break the names of the statistics, and other letters fold differently elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Email<'a>(&'a str);

impl<'a> Email<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Self, String> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._@-".contains(&byte);
        if text.is_empty() || text.len() > EMAIL_BYTES_MAX || !text.bytes().all(known) {
            let start: String = text.chars().take(EMAIL_BYTES_MAX).collect();
            return Err(format!("the e-mail {start:?} is not 1 to {EMAIL_BYTES_MAX} characters of [a-z0-9._@-]"));
        }
        Ok(Self(text))
    }

    pub(crate) fn as_str(self) -> &'a str {
        self.0
    }
}

/// The request that puts a user on an inbound.
pub(crate) fn addition(inbound: &InboundTag, user: &XrayUser) -> Result<AlterInboundRequest, String> {
    let email = Email::new(&user.email)?;
    if user.uuid == Uuid::nil() {
        return Err(format!("the UUID of {:?} is all zeros, which anybody can guess", email.as_str()));
    }
    // The server takes any flow; a wrong one shows only when the user cannot connect.
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if user.flow.len() > FLOW_BYTES_MAX || !user.flow.bytes().all(known) {
        return Err(format!("the flow of {:?} is no flow of VLESS", email.as_str()));
    }
    let account = Account { id: user.uuid.to_string(), flow: user.flow.clone() };
    let user = User { level: 0, email: email.as_str().to_owned(), account: Some(typed(&account)) };
    Ok(alteration(inbound, &AddUserOperation { user: Some(user) }))
}

/// The request that takes a user off an inbound.
pub(crate) fn removal(inbound: &InboundTag, email: Email<'_>) -> AlterInboundRequest {
    alteration(inbound, &RemoveUserOperation { email: email.as_str().to_owned() })
}

/// The removal of nobody. It changes nothing, and the path in its refusal names the inbound's protocol.
pub(crate) fn question_of_protocol(inbound: &InboundTag) -> AlterInboundRequest {
    alteration(inbound, &RemoveUserOperation { email: String::new() })
}

fn alteration<M: Message + Name>(inbound: &InboundTag, operation: &M) -> AlterInboundRequest {
    AlterInboundRequest { tag: inbound.0.clone(), operation: Some(typed(operation)) }
}

fn typed<M: Message + Name>(message: &M) -> TypedMessage {
    TypedMessage { r#type: M::full_name(), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> InboundTag {
        InboundTag("vless-in".to_owned())
    }

    fn user(email: &str, flow: &str) -> XrayUser {
        XrayUser { email: email.to_owned(), uuid: Uuid::from_u128(7), flow: flow.to_owned() }
    }

    #[test]
    fn an_e_mail_is_short_lower_case_and_plain() {
        for good in ["p.1", "a", "a-b_c.d@e", &"x".repeat(128)] {
            assert!(Email::new(good).is_ok(), "{good}");
        }
        for bad in ["", "P.1", "a b", "a>>>b", "юзер", "a\n", &"x".repeat(129)] {
            assert!(Email::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_request_carries_an_operation_of_a_bare_type_name() {
        let requests = [
            (addition(&tag(), &user("p.1", "")).unwrap(), "xray.app.proxyman.command.AddUserOperation"),
            (removal(&tag(), Email::new("p.1").unwrap()), "xray.app.proxyman.command.RemoveUserOperation"),
            (question_of_protocol(&tag()), "xray.app.proxyman.command.RemoveUserOperation"),
        ];
        for (request, name) in requests {
            assert_eq!(request.tag, "vless-in");
            assert_eq!(request.operation.unwrap().r#type, name);
        }
    }

    #[test]
    fn an_addition_carries_a_vless_account() {
        let request = addition(&tag(), &user("p.1", "xtls-rprx-vision")).unwrap();
        let operation = AddUserOperation::decode(request.operation.unwrap().value.as_slice()).unwrap();
        let sent = operation.user.unwrap();
        let account = sent.account.unwrap();
        assert_eq!((sent.email.as_str(), sent.level), ("p.1", 0));
        assert_eq!(account.r#type, "xray.proxy.vless.Account");
        let account = Account::decode(account.value.as_slice()).unwrap();
        assert_eq!(account.id, "00000000-0000-0000-0000-000000000007");
        assert_eq!(account.flow, "xtls-rprx-vision");
    }

    #[test]
    fn what_would_let_in_anybody_or_nobody_is_not_built() {
        assert!(addition(&tag(), &user("", "")).is_err());
        assert!(addition(&tag(), &user("p.1", "Vision!")).is_err());
        let nil = XrayUser { uuid: Uuid::nil(), ..user("p.1", "") };
        assert!(addition(&tag(), &nil).is_err());
    }
}
