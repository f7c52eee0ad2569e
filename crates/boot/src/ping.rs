//! The heartbeat, as Healthchecks and what speaks like it expect: `URL/start`, then `URL` after success and
//! `URL/<exit code>` after failure, the last log lines as body (at most 20 kB; Healthchecks keeps 100). Each carries the
//! run's id as `rid`, so that starts and ends of copies that run at once find each other.
//!
//! It can neither fail nor delay the pass: it runs as a task of its own, each request has two seconds, and at the end of
//! the pass it is waited for no longer than that. Whatever goes wrong is one warning. The address is a secret (who knows
//! it can report in our name) and is in no message.

use std::time::Duration;

use perennial_core::causes::with_causes;
use perennial_core::ids::RunId;
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::database::public_tls;
use crate::exit::Exit;
use crate::logs;
use crate::setting::SettingError;

/// For each request, and for the wait at the end.
const LIMIT: Duration = Duration::from_secs(2);

/// Checks that the heartbeat's address is one.
pub(crate) fn check_url(url: &SecretString, setting: &str) -> Result<(), SettingError> {
    parse(url).map(drop).ok_or_else(|| {
        SettingError::unshown(setting, "is no address of a heartbeat", "write one that begins with http:// or https://")
    })
}

fn parse(url: &SecretString) -> Option<Url> {
    let url: Url = url.expose_secret().parse().ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// A heartbeat under way.
#[derive(Debug)]
pub(crate) struct Ping {
    end: oneshot::Sender<End>,
    task: JoinHandle<Option<String>>,
}

#[derive(Debug)]
struct End {
    /// None: success.
    failed_with: Option<u8>,
    body: String,
}

impl Ping {
    /// Begins to report the start, as a task of the current runtime. None where the address is none, which
    /// [`check_url`] has refused before.
    pub(crate) fn start(url: &SecretString, run_id: RunId) -> Option<Self> {
        let mut url = parse(url)?;
        url.query_pairs_mut().append_pair("rid", &run_id.to_string());
        let (end, ended) = oneshot::channel();
        Some(Self { end, task: tokio::spawn(report(url, ended)) })
    }

    /// Reports the end. Comes back after `at_most` or two seconds, whatever happens.
    pub(crate) async fn finish(self, exit: Exit, is_success: bool, at_most: Duration) {
        let failed_with = (!is_success).then_some(exit.code().max(1));
        // Refused only when the task is gone; the wait below finds that out.
        drop(self.end.send(End { failed_with, body: logs::tail() }));
        let task = self.task.abort_handle();
        let problem = match timeout(LIMIT.min(at_most), self.task).await {
            Ok(Ok(problem)) => problem,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        task.abort();
        if let Some(problem) = problem {
            log::warn!("heartbeat not delivered: {problem}");
        }
    }
}

/// The task: both requests, and the first thing that went wrong.
async fn report(url: Url, mut ended: oneshot::Receiver<End>) -> Option<String> {
    let client = match client() {
        Ok(client) => client,
        Err(problem) => return Some(problem),
    };
    // When the pass is over before the start was delivered, the end is what matters.
    let (started, end) = tokio::select! {
        started = send(&client, below(&url, "start"), String::new()) => (started, ended.await),
        end = &mut ended => (Ok(()), end),
    };
    let Ok(end) = end else { return started.err() };
    let target = match end.failed_with {
        None => url,
        Some(code) => below(&url, &code.to_string()),
    };
    started.and(send(&client, target, end.body).await).err()
}

fn client() -> Result<Client, String> {
    let tls = public_tls().map_err(|error| error.to_string())?;
    Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(LIMIT)
        .user_agent(concat!("perennial/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| with_causes(&error.without_url()))
}

/// `URL/part`; a query stays behind it.
fn below(url: &Url, part: &str) -> Url {
    let mut url = url.clone();
    let path = format!("{}/{part}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

async fn send(client: &Client, url: Url, body: String) -> Result<(), String> {
    let answer = client.post(url).body(body).send().await.and_then(reqwest::Response::error_for_status);
    answer.map(drop).map_err(|error| with_causes(&error.without_url()))
}

#[cfg(test)]
mod tests;
