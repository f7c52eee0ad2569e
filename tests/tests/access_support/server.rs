//! An Xray server in memory, with what makes the real one dangerous: users keyed by lower-cased e-mail, credentials kept
//! apart from them by a UUID without its bytes 6 and 7, so that removing one of two users with one UUID cuts both;
//! requests that are executed late; answers that are lies.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use perennial_core::node::{Inbound, Node};
use perennial_core::ports::{
    Addition, FoundUser, InboundTag, ListedUser, NodeStatus, OnlineUser, Removal, UserList, Xray, XrayError, XrayUser,
};
use perennial_core::reconcile::UuidKey;
use uuid::Uuid;

use super::{Credential, TAG, inbound};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    List,
    Find,
    Add,
    Remove,
}

/// A call as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub kind: Kind,
    pub tag: String,
    pub email: String,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not executed; the answer says it was.
    Lie,
    /// Not executed, no answer.
    RequestLost,
    /// Executed, no answer.
    AnswerLost,
    /// Executed when the test says so, no answer.
    Late,
    /// No answer for so long; then none for good.
    Hang(Duration),
    /// Never any answer, and no deadline either.
    HangForEver,
    Unreachable,
    Misconfigured,
    /// A list has no more than so many users.
    Short(usize),
}

#[derive(Default)]
struct Users {
    listed: BTreeMap<String, (Option<Uuid>, String)>,
    /// Who is let in: UUID → e-mail.
    let_in: HashMap<UuidKey, String>,
}

type Event = Pin<Box<dyn Future<Output = ()>>>;
type Hook = Box<dyn FnOnce() -> Event>;
type Watchdog = Rc<dyn Fn(Call) -> Event>;

pub struct Server {
    pub name: String,
    pub settings: RefCell<Vec<Inbound>>,
    users: RefCell<BTreeMap<String, Users>>,
    calls: RefCell<Vec<Call>>,
    /// Kind, e-mail or for a list its tag (empty: any), how often yet.
    faults: RefCell<Vec<(Kind, String, usize, Fault)>>,
    hooks: RefCell<Vec<(Kind, String, Hook)>>,
    at_call: RefCell<Option<(usize, Hook)>>,
    watchdog: RefCell<Option<Watchdog>>,
    arrived: Cell<usize>,
    late: RefCell<Vec<Call>>,
    late_users: RefCell<HashMap<String, XrayUser>>,
    in_flight: Cell<usize>,
    pub most_in_flight: Cell<usize>,
}

/// The client of a server.
#[derive(Clone)]
pub struct Client(pub Rc<Server>);

impl Server {
    /// One with the inbound [`TAG`] of group `basic`.
    pub fn new(name: &str) -> Rc<Self> {
        Self::with(name, vec![inbound(TAG, "basic")])
    }

    pub fn with(name: &str, inbounds: Vec<Inbound>) -> Rc<Self> {
        let users = inbounds.iter().map(|inbound| (inbound.tag.0.clone(), Users::default())).collect();
        Rc::new(Self {
            name: name.to_owned(),
            settings: RefCell::new(inbounds),
            users: RefCell::new(users),
            calls: RefCell::default(),
            faults: RefCell::default(),
            hooks: RefCell::default(),
            at_call: RefCell::default(),
            watchdog: RefCell::default(),
            arrived: Cell::default(),
            late: RefCell::default(),
            late_users: RefCell::default(),
            in_flight: Cell::default(),
            most_in_flight: Cell::default(),
        })
    }

    pub fn node(self: &Rc<Self>) -> Node<Client> {
        Node { name: self.name.clone(), inbounds: self.settings.borrow().clone(), xray: Client(self.clone()) }
    }

    /// Puts a user there, as somebody else would.
    pub fn put(&self, tag: &str, email: &str, uuid: Uuid) {
        self.put_with_flow(tag, email, Some(uuid), "");
    }

    pub fn put_with_flow(&self, tag: &str, email: &str, uuid: Option<Uuid>, flow: &str) {
        let mut inbounds = self.users.borrow_mut();
        let users = inbounds.entry(tag.to_owned()).or_default();
        users.listed.insert(email.to_owned(), (uuid, flow.to_owned()));
        if let Some(uuid) = uuid {
            users.let_in.insert(UuidKey::of(uuid), email.to_owned());
        }
    }

    /// Puts a credential there as it should be.
    pub fn put_credential(&self, tag: &str, credential: &Credential) {
        self.put(tag, &credential.email, credential.uuid);
    }

    /// Adds a credential as a bot does: an e-mail that is there is left as it is.
    pub fn add_as_bot(&self, tag: &str, credential: &Credential) {
        let call = Call { kind: Kind::Add, tag: tag.to_owned(), email: credential.email.clone() };
        let user = XrayUser { email: credential.email.clone(), uuid: credential.uuid, flow: String::new() };
        self.execute(&call, Some(&user));
    }

    pub fn drop_user(&self, tag: &str, email: &str) {
        remove(self.users.borrow_mut().entry(tag.to_owned()).or_default(), email);
    }

    /// All that was added at run time is forgotten.
    pub fn restart(&self) {
        for users in self.users.borrow_mut().values_mut() {
            *users = Users::default();
        }
    }

    pub fn emails(&self, tag: &str) -> Vec<String> {
        self.users.borrow()[tag].listed.keys().cloned().collect()
    }

    pub fn uuid_of(&self, tag: &str, email: &str) -> Uuid {
        self.users.borrow()[tag].listed[email].0.unwrap()
    }

    /// Whether somebody with this UUID can connect.
    pub fn lets_in(&self, tag: &str, uuid: Uuid) -> bool {
        self.users.borrow()[tag].let_in.contains_key(&UuidKey::of(uuid))
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    pub fn clear_calls(&self) {
        self.calls.borrow_mut().clear();
    }

    /// Calls that change something.
    pub fn changes(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| matches!(call.kind, Kind::Add | Kind::Remove)).collect()
    }

    /// E-mails of calls of a kind.
    pub fn asked(&self, kind: Kind) -> Vec<String> {
        self.calls().into_iter().filter(|call| call.kind == kind).map(|call| call.email).collect()
    }

    /// Makes the next calls of a kind go wrong, of any user.
    pub fn fail(&self, kind: Kind, times: usize, fault: Fault) {
        self.faults.borrow_mut().push((kind, String::new(), times, fault));
    }

    /// Makes the next calls about a user go wrong, or the next lists of the inbound with this tag.
    pub fn fail_for(&self, kind: Kind, email: &str, times: usize, fault: Fault) {
        self.faults.borrow_mut().push((kind, email.to_owned(), times, fault));
    }

    pub fn heal(&self) {
        self.faults.borrow_mut().clear();
    }

    /// Lets something happen right before the next call of a kind about a user is executed.
    pub fn before(&self, kind: Kind, email: &str, event: impl FnOnce() -> Event + 'static) {
        self.hooks.borrow_mut().push((kind, email.to_owned(), Box::new(event)));
    }

    /// Lets something happen when the `n`-th call from now has arrived, counted from 0: after a list was taken, before
    /// anything else is executed.
    pub fn at_call(&self, n: usize, event: impl FnOnce() -> Event + 'static) {
        *self.at_call.borrow_mut() = Some((self.arrived.get() + n, Box::new(event)));
    }

    /// Whether what was to happen at a call has happened. If not, it will not any more.
    pub fn has_happened(&self) -> bool {
        self.at_call.borrow_mut().take().is_none()
    }

    /// Is told of every call right before it is executed.
    pub fn watch(&self, watchdog: impl Fn(Call) -> Event + 'static) {
        *self.watchdog.borrow_mut() = Some(Rc::new(watchdog));
    }

    /// Executes the requests that were on their way. Answers how many.
    pub fn deliver_late(&self) -> usize {
        let late = std::mem::take(&mut *self.late.borrow_mut());
        for call in &late {
            let user = self.late_users.borrow().get(&call.email).cloned();
            self.execute(call, user.as_ref());
        }
        late.len()
    }

    fn execute(&self, call: &Call, user: Option<&XrayUser>) -> bool {
        let mut inbounds = self.users.borrow_mut();
        let users = inbounds.get_mut(&call.tag).unwrap();
        match (call.kind, user) {
            (Kind::Remove, _) => remove(users, &call.email),
            (Kind::Add, Some(user)) if !users.listed.contains_key(&call.email) => {
                users.listed.insert(call.email.clone(), (Some(user.uuid), user.flow.clone()));
                users.let_in.insert(UuidKey::of(user.uuid), call.email.clone());
                true
            }
            _ => false,
        }
    }

    fn error(&self, fault: &Fault) -> XrayError {
        let node = self.name.clone();
        let reason = format!("{fault:?}");
        match fault {
            Fault::Unreachable => XrayError::Unreachable { node, reason },
            Fault::Misconfigured => XrayError::Misconfigured { node, reason },
            _ => XrayError::Unknown { node, reason },
        }
    }

    /// Logs a call, lets happen what is to happen before it, and answers what goes wrong with it.
    async fn arrive(&self, kind: Kind, tag: &InboundTag, email: &str) -> (Call, Option<Fault>) {
        let call = Call { kind, tag: tag.0.clone(), email: email.to_owned() };
        self.calls.borrow_mut().push(call.clone());
        self.in_flight.set(self.in_flight.get() + 1);
        self.most_in_flight.set(self.most_in_flight.get().max(self.in_flight.get()));
        tokio::task::yield_now().await;
        let hook = {
            let mut hooks = self.hooks.borrow_mut();
            let at = hooks.iter().position(|(of, about, _)| *of == kind && (about.is_empty() || about == email));
            at.map(|at| hooks.remove(at).2)
        };
        if let Some(hook) = hook {
            hook().await;
        }
        if kind != Kind::List {
            self.happen().await;
        }
        let watchdog = self.watchdog.borrow().clone();
        if let Some(watchdog) = watchdog {
            watchdog(call.clone()).await;
        }
        self.in_flight.set(self.in_flight.get() - 1);
        let mut faults = self.faults.borrow_mut();
        let fault = faults
            .iter_mut()
            .find(|(of, about, times, _)| {
                let is_it = about.is_empty() || about == if kind == Kind::List { &tag.0 } else { email };
                *of == kind && *times > 0 && is_it
            })
            .map(|(_, _, times, fault)| {
                *times -= 1;
                fault.clone()
            });
        drop(faults);
        (call, fault)
    }

    async fn happen(&self) {
        let now = self.arrived.replace(self.arrived.get() + 1);
        let due = {
            let mut at_call = self.at_call.borrow_mut();
            if at_call.as_ref().is_some_and(|(at, _)| *at <= now) { at_call.take() } else { None }
        };
        if let Some((_, event)) = due {
            event().await;
        }
    }

    async fn wrong<T>(&self, fault: &Fault) -> Result<T, XrayError> {
        match fault {
            Fault::Hang(long) => tokio::time::sleep(*long).await,
            Fault::HangForEver => std::future::pending().await,
            _ => {}
        }
        Err(self.error(fault))
    }
}

fn remove(users: &mut Users, email: &str) -> bool {
    let Some((uuid, _)) = users.listed.remove(email) else { return false };
    // The server deletes the UUID, whoever has it now.
    if let Some(uuid) = uuid {
        users.let_in.remove(&UuidKey::of(uuid));
    }
    true
}

impl Xray for Client {
    async fn list_users(&self, tag: &InboundTag) -> Result<UserList, XrayError> {
        let (_, fault) = self.0.arrive(Kind::List, tag, "").await;
        let most = match &fault {
            None => usize::MAX,
            Some(Fault::Short(most)) => *most,
            Some(fault) => return self.0.wrong(fault).await,
        };
        let list = {
            let inbounds = self.0.users.borrow();
            let Some(users) = inbounds.get(&tag.0) else { return Err(self.0.error(&Fault::Misconfigured)) };
            let users = users.listed.iter().take(most);
            UserList::collect(users.map(|(email, (uuid, flow))| ListedUser { email, uuid: *uuid, flow })).unwrap()
        };
        self.0.happen().await;
        Ok(list)
    }

    async fn find_user(&self, tag: &InboundTag, email: &str) -> Result<Option<FoundUser>, XrayError> {
        let (_, fault) = self.0.arrive(Kind::Find, tag, email).await;
        if let Some(fault) = fault {
            return self.0.wrong(&fault).await;
        }
        let inbounds = self.0.users.borrow();
        let found = inbounds[&tag.0].listed.get(email);
        Ok(found.map(|(uuid, flow)| FoundUser { email: email.to_owned(), uuid: *uuid, flow: flow.clone() }))
    }

    async fn add_user(&self, tag: &InboundTag, user: &XrayUser) -> Result<Addition, XrayError> {
        let (call, fault) = self.0.arrive(Kind::Add, tag, &user.email).await;
        match &fault {
            None => {}
            Some(Fault::Lie) => return Ok(Addition::Added),
            Some(Fault::Late) => {
                self.0.late_users.borrow_mut().insert(user.email.clone(), user.clone());
                self.0.late.borrow_mut().push(call);
                return Err(self.0.error(&Fault::Late));
            }
            Some(Fault::AnswerLost) => {
                self.0.execute(&call, Some(user));
                return Err(self.0.error(&Fault::AnswerLost));
            }
            Some(fault) => return self.0.wrong(fault).await,
        }
        Ok(if self.0.execute(&call, Some(user)) { Addition::Added } else { Addition::WasPresent })
    }

    async fn remove_user(&self, tag: &InboundTag, email: &str) -> Result<Removal, XrayError> {
        let (call, fault) = self.0.arrive(Kind::Remove, tag, email).await;
        match &fault {
            None => {}
            Some(Fault::Lie) => return Ok(Removal::Removed),
            Some(Fault::Late) => {
                self.0.late.borrow_mut().push(call);
                return Err(self.0.error(&Fault::Late));
            }
            Some(Fault::AnswerLost) => {
                self.0.execute(&call, None);
                return Err(self.0.error(&Fault::AnswerLost));
            }
            Some(fault) => return self.0.wrong(fault).await,
        }
        Ok(if self.0.execute(&call, None) { Removal::Removed } else { Removal::WasAbsent })
    }

    async fn status(&self) -> Result<NodeStatus, XrayError> {
        Ok(NodeStatus { uptime: Duration::from_secs(1), inbounds: None })
    }

    async fn online(&self, _emails: &[String]) -> Result<Option<Vec<OnlineUser>>, XrayError> {
        Ok(None)
    }
}
