//! Taking users off a server for good: ask again, remove, look.

use std::collections::{HashMap, HashSet};

use perennial_core::batch::{Batch, Piece, Suspects, run_batch};
use perennial_core::crash_point;
use perennial_core::db::{CredentialState, NewAudit, Tx};
use perennial_core::ids::CredentialId;
use perennial_core::node::Trouble;
use perennial_core::ports::{InboundTag, Removal, Xray};
use perennial_core::reconcile::{Comparison, Extra, Place, Standing, Watched, Why};
use serde_json::json;
use uuid::Uuid;

use crate::hash::uuid_hash;
use crate::worker::Worker;

/// A user that goes.
struct Going<'a, 'l> {
    tag: &'a InboundTag,
    email: &'l str,
    uuid: Option<Uuid>,
    credential: Option<CredentialId>,
    why: Why,
}

impl<'a, X: Xray> Worker<'a, X> {
    /// Takes users off, each asked for once more where that can change anything. The answer to a removal is not believed,
    /// good or bad; who is absent when asked afterwards is gone. `put_back` are put there anew right afterwards.
    pub(crate) async fn take_off(
        &mut self,
        comparison: &Comparison,
        extras: &[Extra],
        put_back: &HashSet<CredentialId>,
    ) -> Result<(), Trouble> {
        let closed = self.retire(extras).await?;
        crash_point!("reconcile.retired_not_removed");
        let strangers = self.still_strangers(comparison, extras, put_back).await?;
        let going: Vec<Going<'a, '_>> = extras
            .iter()
            .filter(|extra| match extra.why {
                // Closed is final. A group is fixed for life.
                Why::Closed | Why::Watched(Watched::OtherGroup) => true,
                Why::Watched(Watched::Unused) => extra.credential.is_some_and(|id| closed.contains(&id)),
                Why::Watched(Watched::Unknown) => strangers.contains(&extra.place),
            })
            .map(|extra| {
                let user = comparison.user(extra.place);
                let (tag, _) = self.inbound(extra.place.inbound);
                Going { tag, email: user.email, uuid: user.uuid, credential: extra.credential, why: extra.why }
            })
            .collect();
        let xray = &self.node.xray;
        let removed = self.call_each(&going, |one| (one.tag, xray.remove_user(one.tag, one.email))).await?;
        crash_point!("reconcile.removed_not_proven");
        let left = self.call_each(&going, |one| (one.tag, xray.find_user(one.tag, one.email))).await?;

        let mut gone = Vec::new();
        let mut by_us = Vec::new();
        for ((one, removed), left) in going.iter().zip(&removed).zip(&left) {
            if !matches!(left, Ok(None)) {
                log::warn!(node = self.node.name.as_str(), email = one.email; "was removed and is not proven gone");
                self.summary.failed += 1;
                continue;
            }
            gone.push((one.tag.0.as_str(), one.email));
            if !matches!(removed, Ok(Removal::WasAbsent)) {
                by_us.push(one);
            }
        }
        crash_point!("reconcile.proven_not_recorded");
        self.record_gone(&gone, &by_us).await
    }

    async fn record_gone(&mut self, gone: &[(&str, &str)], by_us: &[&Going<'_, '_>]) -> Result<(), Trouble> {
        if gone.is_empty() {
            return Ok(());
        }
        let owners = self.credentials(by_us.iter().filter_map(|one| one.credential)).await?;
        let node = self.node.name.as_str();
        let audit: Vec<NewAudit> = by_us.iter().map(|one| removal_audit(node, one, &owners)).collect();
        self.db
            .run_tx("record_gone", async |tx| {
                tx.delete_orphans(node, gone).await?;
                tx.insert_audit(&audit).await
            })
            .await?;
        for one in by_us {
            log::info!(node, inbound = one.tag.0.as_str(), email = one.email, why = one.why.word(); "removed");
        }
        self.summary.removed += by_us.len() as u64;
        Ok(())
    }

    /// Retires the unused ones that are still so: once that is committed nobody can be granted them, so that the removal
    /// that follows hurts nobody, however late. Answers which are closed now, those included that somebody else has
    /// closed meanwhile: another node's part of this pass, as a rule. What cannot be retired stays where it is.
    async fn retire(&mut self, extras: &[Extra]) -> Result<HashSet<CredentialId>, Trouble> {
        let unused = extras.iter().filter(|extra| extra.why == Why::Watched(Watched::Unused));
        let mut ids: Vec<CredentialId> = unused.filter_map(|extra| extra.credential).collect();
        ids.sort_unstable();
        ids.dedup();
        let batch = {
            let _turn = self.retiring.lock().await;
            let suspects = Suspects::unless(|retired: &Vec<CredentialId>| !retired.is_empty());
            let body = async |tx: &Tx<'_>, ids: &[CredentialId]| tx.retire_unused(ids).await;
            let Batch { pieces, error } = run_batch(self.db, self.deadline, "retire", &ids, &suspects, body).await;
            Batch { pieces, error: error.or_else(|| suspects.acquit().err()) }
        };
        let mut closed = HashSet::new();
        for piece in batch.pieces {
            match piece {
                Piece::Done(ids) => closed.extend(ids),
                Piece::Held(_) => {}
                Piece::Failed(id, error) => {
                    log::error!(credential_id = id.0, error:% = error; "could not be retired, and stays");
                    self.summary.failed += 1;
                }
            }
        }
        match batch.error {
            Some(error) if error.may_be_of_a_row() => {
                log::error!(node = self.node.name.as_str(), error:% = error; "unused credentials could not be retired");
                self.summary.failed += (ids.len() - closed.len()) as u64;
                self.doubt.get_or_insert(error);
            }
            Some(error) => return Err(error.into()),
            None => {}
        }
        let others = self.credentials(ids.into_iter().filter(|id| !closed.contains(id))).await?;
        closed.extend(others.into_values().filter(|row| row.standing == Standing::Closed).map(|row| row.id));
        Ok(closed)
    }

    /// The unknown ones that the database still does not know. Where one has the UUID of an open credential of that
    /// inbound's group, it is how that user connects; so it stays, unless that credential is put there anew afterwards.
    async fn still_strangers(
        &self,
        comparison: &Comparison,
        extras: &[Extra],
        put_back: &HashSet<CredentialId>,
    ) -> Result<HashSet<Place>, Trouble> {
        let unknown = extras.iter().filter(|extra| extra.why == Why::Watched(Watched::Unknown));
        let places: Vec<Place> = unknown.map(|extra| extra.place).collect();
        if places.is_empty() {
            return Ok(HashSet::new());
        }
        let emails: Vec<&str> = places.iter().map(|at| comparison.user(*at).email).collect();
        let uuids: Vec<Uuid> = places.iter().filter_map(|at| comparison.user(*at).uuid).collect();
        let (known, owners) = self
            .db
            .run_tx("still_strangers", async |tx| {
                Ok((tx.credentials_by_email(&emails).await?, tx.open_by_uuid(&uuids).await?))
            })
            .await?;
        let known: HashSet<&str> = known.iter().map(|row| row.email.as_str()).collect();
        let in_use: HashSet<(Uuid, &str)> = owners
            .iter()
            .filter(|owner| !put_back.contains(&owner.id))
            .map(|owner| (owner.uuid.expose(), owner.access_group.as_str()))
            .collect();
        let stays = |at: &Place| {
            let user = comparison.user(*at);
            let group = self.node.inbounds[usize::from(at.inbound)].group.as_str();
            known.contains(user.email) || user.uuid.is_some_and(|uuid| in_use.contains(&(uuid, group)))
        };
        Ok(places.into_iter().filter(|at| !stays(at)).collect())
    }
}

fn removal_audit(node: &str, one: &Going<'_, '_>, owners: &HashMap<CredentialId, CredentialState>) -> NewAudit {
    let owner = one.credential.and_then(|id| owners.get(&id));
    NewAudit {
        action: "removed",
        telegram_id: owner.map(|row| row.telegram_id),
        subscription_id: None,
        before: Some(json!({
            "node": node,
            "inbound": one.tag.0,
            "email": one.email,
            "credential_id": one.credential.map(|id| id.0),
            "uuid_hash": one.uuid.map(uuid_hash),
        })),
        after: None,
        reason: Some(one.why.word().to_owned()),
    }
}
