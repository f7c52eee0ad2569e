//! `HandlerService`: users of inbounds.

use prost::{Message, Name};
use tonic::{Request, Response, Status, async_trait};

use super::calls::{Call, Kind};
use super::faults::Fault;
use super::ids;
use super::shared::Shared;
use super::state::{FakeUser, State, Trouble};
use super::wire::handler::handler_service_server::HandlerService;
use super::wire::handler::{
    AddUserOperation, AlterInboundRequest, AlterInboundResponse, GetInboundUserRequest, GetInboundUserResponse,
    Inbound, ListInboundsRequest, ListInboundsResponse, RemoveUserOperation,
};
use super::wire::{Account, TypedMessage, User};

const COMMAND: &str = "app/proxyman/command";

/// Accounts the server knows and VLESS does not: sent to a VLESS inbound they end the process.
const OTHER_ACCOUNTS: [&str; 4] = [
    "xray.proxy.vmess.Account",
    "xray.proxy.trojan.Account",
    "xray.proxy.shadowsocks.Account",
    "xray.proxy.shadowsocks_2022.Account",
];

#[async_trait]
impl HandlerService for Shared {
    async fn alter_inbound(
        &self,
        request: Request<AlterInboundRequest>,
    ) -> Result<Response<AlterInboundResponse>, Status> {
        let AlterInboundRequest { tag, operation } = request.into_inner();
        let operation = Operation::read(operation);
        let call = match &operation {
            Ok(Operation::Add(user)) => Call::new(Kind::Add, &tag, user.as_ref().map_or("", |user| &user.email)),
            Ok(Operation::Remove(email)) if email.is_empty() => Call::new(Kind::AskProtocol, &tag, ""),
            Ok(Operation::Remove(email)) => Call::new(Kind::Remove, &tag, email),
            Err(_) => Call::new(Kind::Malformed, &tag, ""),
        };
        let apply = move |state: &mut State| match operation? {
            Operation::Add(user) => state.add(&tag, || parse(user)).map(|()| AlterInboundResponse {}),
            Operation::Remove(email) => state.remove(&tag, &email).map(|()| AlterInboundResponse {}),
        };
        self.perform(call, apply).await
    }

    async fn list_inbounds(&self, _: Request<ListInboundsRequest>) -> Result<Response<ListInboundsResponse>, Status> {
        let apply = |state: &mut State| {
            let inbounds = state.tags().into_iter().map(|tag| Inbound { tag }).collect();
            Ok(ListInboundsResponse { inbounds })
        };
        self.perform(Call::new(Kind::ListInbounds, "", ""), apply).await
    }

    async fn get_inbound_users(
        &self,
        request: Request<GetInboundUserRequest>,
    ) -> Result<Response<GetInboundUserResponse>, Status> {
        let GetInboundUserRequest { tag, email } = request.into_inner();
        if email.is_empty() {
            let apply = {
                let tag = tag.clone();
                move |state: &mut State| Ok(all(state.list(&tag)?))
            };
            let shorten = |answer: &mut GetInboundUserResponse, fault: &Fault| match fault {
                Fault::ShortList(length) => answer.users.truncate(*length),
                Fault::DoubledList => answer.users.extend_from_within(..),
                _ => {}
            };
            return self.perform_and(Call::new(Kind::List, &tag, ""), apply, shorten).await;
        }
        let call = Call::new(Kind::Find, &tag, &email);
        // Not an empty list for a missing e-mail, but a list of one empty user.
        let apply = move |state: &mut State| {
            let user = state.find(&tag, &email)?.map_or_else(User::default, listed);
            Ok(GetInboundUserResponse { users: vec![user] })
        };
        self.perform(call, apply).await
    }
}

enum Operation {
    Add(Option<User>),
    Remove(String),
}

impl Operation {
    fn read(message: Option<TypedMessage>) -> Result<Self, Trouble> {
        // The handler reads the type of what is not there, and that is the end of the process.
        let Some(TypedMessage { r#type: name, value }) = message else { return Err(Trouble::Dies) };
        if name == AddUserOperation::full_name() {
            Ok(Self::Add(decode::<AddUserOperation>(&value)?.user))
        } else if name == RemoveUserOperation::full_name() {
            Ok(Self::Remove(decode::<RemoveUserOperation>(&value)?.email))
        } else if name == Account::full_name() || name == User::full_name() || OTHER_ACCOUNTS.contains(&name.as_str()) {
            Err(Trouble::Refused(format!("{COMMAND}: not an inbound operation")))
        } else {
            Err(Trouble::Refused(format!("{COMMAND}: unknown operation > proto: not found")))
        }
    }
}

fn decode<M: Message + Default>(value: &[u8]) -> Result<M, Trouble> {
    let broken = format!("{COMMAND}: unknown operation > proto: cannot parse invalid wire-format data");
    M::decode(value).map_err(|_| Trouble::Refused(broken))
}

/// The user of an addition, as Xray reads it.
fn parse(user: Option<User>) -> Result<FakeUser, Trouble> {
    let refused = |text: String| Trouble::Refused(format!("{COMMAND}: failed to parse user > {text}"));
    let User { email, account, .. } = user.unwrap_or_default();
    let Some(TypedMessage { r#type: name, value }) = account else {
        return Err(refused("common/protocol: Account is missing".to_owned()));
    };
    if OTHER_ACCOUNTS.contains(&name.as_str()) {
        return Err(Trouble::Dies);
    }
    if name != Account::full_name() {
        return Err(refused("proto: not found".to_owned()));
    }
    let broken = |_| refused("proto: cannot parse invalid wire-format data".to_owned());
    let account = Account::decode(value.as_slice()).map_err(broken)?;
    let uuid = ids::parse(&account.id).map_err(|text| refused(format!("proxy/vless: failed to parse ID > {text}")))?;
    Ok(FakeUser { email, uuid, flow: account.flow })
}

fn all(users: Vec<FakeUser>) -> GetInboundUserResponse {
    GetInboundUserResponse { users: users.into_iter().map(listed).collect() }
}

fn listed(user: FakeUser) -> User {
    let account = Account { id: user.uuid.to_string(), flow: user.flow };
    let typed = TypedMessage { r#type: Account::full_name(), value: account.encode_to_vec() };
    User { level: 0, email: user.email, account: Some(typed) }
}
