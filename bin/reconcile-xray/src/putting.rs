//! Putting users on a server: ask again, add, look, ask again.

use std::collections::HashSet;

use perennial_core::crash_point;
use perennial_core::db::{CredentialState, NewAudit};
use perennial_core::ids::CredentialId;
use perennial_core::node::Trouble;
use perennial_core::ports::{Addition, FoundUser, InboundTag, Xray, XrayError, XrayUser};
use perennial_core::reconcile::{Standing, UuidKey};
use serde_json::json;

use crate::worker::Worker;

/// A user that should be on an inbound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    /// Number of the inbound.
    pub(crate) inbound: u16,
    /// Whose.
    pub(crate) credential: CredentialId,
    /// What for.
    pub(crate) purpose: Purpose,
}

/// What an addition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is missing.
    Restore,
    /// It was taken off to be put there anew; the word says why.
    Replace(&'static str),
}

impl Purpose {
    /// Whether a credential in this state may be put there.
    pub(crate) fn allows(self, standing: Standing) -> bool {
        match self {
            Self::Restore => standing == Standing::Entitled,
            // It was there before, and its end belongs to `expire-fast`.
            Self::Replace(_) => standing.is_in_use(),
        }
    }
}

/// A user and where it is put.
pub(crate) struct Putting<'a> {
    pub(crate) want: Want,
    pub(crate) tag: &'a InboundTag,
    pub(crate) row: CredentialState,
    pub(crate) user: XrayUser,
}

/// How a batch of additions ended.
#[derive(Default)]
pub(crate) struct Put<'a> {
    /// Seen to be there as they should be.
    pub(crate) right: Vec<Putting<'a>>,
    /// Not there as they should be, though nothing speaks against them.
    pub(crate) failed: Vec<Want>,
}

impl<'a, X: Xray> Worker<'a, X> {
    /// Puts users there, each once more asked for in the database just before and just after. Who was closed in between
    /// is taken off again at once; whether that works or not, it is closed, and any pass takes it off.
    pub(crate) async fn put_on(&mut self, wants: &[Want]) -> Result<Put<'a>, Trouble> {
        let known = self.credentials(wants.iter().map(|want| want.credential)).await?;
        let users: Vec<Putting<'a>> = wants
            .iter()
            .filter_map(|want| {
                let row = known.get(&want.credential).filter(|row| want.purpose.allows(row.standing))?.clone();
                let (tag, flow) = self.inbound(want.inbound);
                let user = XrayUser { email: row.email.clone(), uuid: row.uuid.expose(), flow: flow.to_owned() };
                Some(Putting { want: *want, tag, row, user })
            })
            .collect();
        let xray = &self.node.xray;
        let added = self.call_each(&users, |one| (one.tag, xray.add_user(one.tag, &one.user))).await?;
        crash_point!("reconcile.added_not_looked_at");
        let found = self.call_each(&users, |one| (one.tag, xray.find_user(one.tag, &one.user.email))).await?;

        let is_there: Vec<bool> = users.iter().zip(&found).map(|(one, found)| is_right(&one.user, found)).collect();
        let by_us = users.iter().zip(&added).zip(&is_there);
        let by_us: Vec<&Putting<'a>> = by_us
            .filter(|((one, added), there)| **there && is_our_doing(one, added))
            .map(|((one, _), _)| one)
            .collect();
        let closed = self.ask_again(&users, &by_us).await?;
        self.count_put(&by_us, &closed);

        let mut put = Put::default();
        let mut withdrawn = Vec::new();
        for (one, there) in users.into_iter().zip(is_there) {
            if closed.contains(&one.row.id) {
                withdrawn.push(one);
            } else if there {
                put.right.push(one);
            } else {
                log::warn!(node = self.node.name.as_str(), email = one.row.email.as_str(); "was added and is not there");
                put.failed.push(one.want);
            }
        }
        self.withdraw(&withdrawn).await?;
        Ok(put)
    }

    /// The question after the additions, and in the same transaction the audit rows of those that are there and may be.
    /// Answers who is open no more.
    async fn ask_again(&self, users: &[Putting<'a>], by_us: &[&Putting<'a>]) -> Result<HashSet<CredentialId>, Trouble> {
        if users.is_empty() {
            return Ok(HashSet::new());
        }
        let ids: Vec<CredentialId> = users.iter().map(|one| one.row.id).collect();
        let closed = self.db.run_tx("ask_again", async |tx| {
            let rows = tx.credentials_by_id(&ids).await?;
            let open: HashSet<CredentialId> =
                rows.iter().filter(|row| row.standing.is_open()).map(|row| row.id).collect();
            let stay = by_us.iter().filter(|one| open.contains(&one.row.id));
            tx.insert_audit(&stay.map(|one| self.addition_audit(one)).collect::<Vec<_>>()).await?;
            Ok(ids.iter().copied().filter(|id| !open.contains(id)).collect())
        });
        Ok(closed.await?)
    }

    fn addition_audit(&self, one: &Putting<'a>) -> NewAudit {
        let (action, reason) = match one.want.purpose {
            Purpose::Restore => ("restored", "missing"),
            Purpose::Replace(why) => ("replaced", why),
        };
        let after = json!({
            "node": self.node.name,
            "inbound": one.tag.0,
            "email": one.row.email,
            "credential_id": one.row.id.0,
        });
        NewAudit {
            action,
            telegram_id: Some(one.row.telegram_id),
            subscription_id: None,
            before: None,
            after: Some(after),
            reason: Some(reason.to_owned()),
        }
    }

    fn count_put(&mut self, by_us: &[&Putting<'a>], closed: &HashSet<CredentialId>) {
        for one in by_us.iter().filter(|one| !closed.contains(&one.row.id)) {
            let (node, inbound, email) = (self.node.name.as_str(), one.tag.0.as_str(), one.row.email.as_str());
            match one.want.purpose {
                Purpose::Restore => {
                    log::info!(node, inbound, email; "restored");
                    self.summary.restored += 1;
                }
                Purpose::Replace(why) => {
                    log::info!(node, inbound, email, why; "replaced");
                    self.summary.replaced += 1;
                }
            }
        }
    }

    async fn withdraw(&mut self, closed: &[Putting<'a>]) -> Result<(), Trouble> {
        let xray = &self.node.xray;
        self.call_each(closed, |one| (one.tag, xray.remove_user(one.tag, &one.user.email))).await?;
        let left = self.call_each(closed, |one| (one.tag, xray.find_user(one.tag, &one.user.email))).await?;
        for (one, found) in closed.iter().zip(&left) {
            let (node, email) = (self.node.name.as_str(), one.row.email.as_str());
            if matches!(found, Ok(None)) {
                log::info!(node, email; "closed while it was added, and taken off again");
            } else {
                log::warn!(node, email; "closed while it was added, and not proven gone: the next pass takes it off");
                self.summary.failed += 1;
            }
        }
        Ok(())
    }
}

/// What was looked for is there, with the UUID and flow it must have.
pub(crate) fn is_right(wanted: &XrayUser, found: &Result<Option<FoundUser>, XrayError>) -> bool {
    let Ok(Some(user)) = found else { return false };
    user.uuid.is_some_and(|uuid| UuidKey::of(uuid) == UuidKey::of(wanted.uuid)) && user.flow == wanted.flow
}

/// Somebody else may have put it there in between: then nothing was done by us.
fn is_our_doing(one: &Putting<'_>, added: &Result<Addition, XrayError>) -> bool {
    one.want.purpose != Purpose::Restore || !matches!(added, Ok(Addition::WasPresent))
}
