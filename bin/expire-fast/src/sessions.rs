//! Sessions that outlive a removal. Xray ends no connection when its user is taken off; only new ones are refused. So what
//! is still connected is counted where the server tells, and an operator's hook may cut the sockets on the node.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use perennial_core::db::Closing;
use perennial_core::node::Node;
use perennial_core::ports::{OnlineUser, Xray};
use perennial_core::removal::AfterRemoval;
use perennial_core::time::Deadline;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// How long the hook may take for the users removed from one node in one go.
const HOOK_LIMIT: Duration = Duration::from_secs(5);
/// How long the server may take to say who is connected. Proofs wait for it.
const ONLINE_LIMIT: Duration = Duration::from_secs(3);
/// How long the hook may go on after the pass's time is over.
const OVERTIME: Duration = Duration::from_secs(1);

/// Looks after sessions of removed users.
#[derive(Debug)]
pub struct Sessions {
    /// The operator's command and its arguments; empty: none.
    hook: Vec<String>,
    deadline: Deadline,
    still_connected: Cell<u64>,
    hook_failures: Cell<u64>,
    last_failure: RefCell<String>,
    /// A hook that hangs would hold up the proofs each time: after the first time it is not run again in this pass.
    hook_hangs: Cell<bool>,
    /// Servers that did not say in time who is connected: nor are they asked again.
    mute: RefCell<HashSet<String>>,
}

impl Sessions {
    /// With a hook, or an empty one for none.
    #[must_use]
    pub fn new(hook: Vec<String>, deadline: &Deadline) -> Self {
        Self {
            hook,
            deadline: deadline.clone(),
            still_connected: Cell::default(),
            hook_failures: Cell::default(),
            last_failure: RefCell::default(),
            hook_hangs: Cell::default(),
            mute: RefCell::default(),
        }
    }

    /// What a person should know, after the pass.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.still_connected.get() > 0 {
            let users = self.still_connected.get();
            warnings.push(format!("{users} users were removed and are still connected: their open sessions go on"));
        }
        if self.hook_failures.get() > 0 {
            let failures = self.hook_failures.get();
            warnings.push(format!("the hook on_removed failed {failures} times, last: {}", self.last_failure.borrow()));
        }
        warnings
    }

    async fn run_hook(&self, node: &str, online: &[OnlineUser]) -> Result<(), String> {
        let Some((program, arguments)) = self.hook.split_first() else {
            return Ok(());
        };
        if self.hook_hangs.get() {
            return Err(format!("{program}: not run again after it hung"));
        }
        let users: Vec<_> = online
            .iter()
            .map(|user| json!({ "email_hash": sha256_hex(&user.email), "addresses": user.addresses }))
            .collect();
        let input = json!({ "node": node, "users": users }).to_string();
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let fed_and_ended = async {
            if let Some(mut stdin) = child.stdin.take() {
                // A hook that does not read its input ends by itself, or by the deadline.
                drop(stdin.write_all(input.as_bytes()).await);
            }
            child.wait().await
        };
        let limit = HOOK_LIMIT.min(self.deadline.remaining() + OVERTIME);
        match timeout(limit, fed_and_ended).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{program}: {status}")),
            Ok(Err(error)) => Err(format!("{program}: {error}")),
            Err(_) => {
                self.hook_hangs.set(true);
                Err(format!("{program}: took longer than {} s and was ended", limit.as_secs()))
            }
        }
    }
}

impl<X: Xray> AfterRemoval<X> for Sessions {
    async fn removed(&self, node: &Node<X>, credentials: &[Closing]) {
        if credentials.is_empty() || self.mute.borrow().contains(&node.name) {
            return;
        }
        let emails: Vec<String> = credentials.iter().map(|credential| credential.email.clone()).collect();
        // Where the server does not count, or does not answer: removal and proof do not depend on it.
        let online = match timeout(ONLINE_LIMIT, node.xray.online(&emails)).await {
            Ok(Ok(Some(online))) => online,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                log::debug!(node = node.name.as_str(), error:% = error; "cannot tell who is still connected");
                return;
            }
            Err(_) => {
                log::warn!(node = node.name.as_str(); "does not say who is still connected; not asked again");
                self.mute.borrow_mut().insert(node.name.clone());
                return;
            }
        };
        if online.is_empty() {
            return;
        }
        log::warn!(node = node.name.as_str(), users = online.len(); "removed but still connected");
        self.still_connected.set(self.still_connected.get() + online.len() as u64);
        if let Err(failure) = self.run_hook(&node.name, &online).await {
            log::warn!(node = node.name.as_str(), failure = failure.as_str(); "the hook on_removed failed");
            self.hook_failures.set(self.hook_failures.get() + 1);
            *self.last_failure.borrow_mut() = failure;
        }
    }
}

/// Names a user to the hook without giving the e-mail away.
fn sha256_hex(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(hook: &[&str], budget: u64) -> Sessions {
        let hook = hook.iter().map(ToString::to_string).collect();
        Sessions::new(hook, &Deadline::after(Duration::from_secs(budget)))
    }

    fn run_in(sessions: &Sessions, users: &[OnlineUser]) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(sessions.run_hook("de1", users))
    }

    fn run(hook: &[&str], users: &[OnlineUser]) -> Result<(), String> {
        run_in(&sessions(hook, 60), users)
    }

    #[test]
    fn the_hook_gets_node_hash_and_addresses_on_its_standard_input() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seen");
        let user = OnlineUser { email: "p.1".to_owned(), addresses: vec!["203.0.113.7".to_owned()] };
        run(&["sh", "-c", &format!("cat > {}", file.display())], &[user]).unwrap();
        let seen: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(seen["node"], "de1");
        assert_eq!(seen["users"][0]["addresses"][0], "203.0.113.7");
        assert_eq!(seen["users"][0]["email_hash"], sha256_hex("p.1"));
        assert!(!seen.to_string().contains("p.1"));
    }

    #[test]
    fn a_hook_that_fails_hangs_or_is_missing_is_said_and_does_no_harm() {
        assert!(run(&["false"], &[]).unwrap_err().contains("exit status: 1"));
        // No longer than the pass has, and once: the proofs wait for it.
        let hanging = sessions(&["sleep", "60"], 0);
        assert!(run_in(&hanging, &[]).unwrap_err().contains("took longer than 1 s"));
        assert!(run_in(&hanging, &[]).unwrap_err().contains("not run again"));
        assert!(run(&["/no/such/program"], &[]).unwrap_err().contains("No such file"));
        assert_eq!(run(&[], &[]), Ok(()));
    }
}
