//! The order of doing: additions, replacements, removals, and a second look at what was replaced.

use std::collections::{HashMap, HashSet};

use perennial_core::crash_point;
use perennial_core::ids::CredentialId;
use perennial_core::node::Trouble;
use perennial_core::ports::{InboundTag, Removal, UserList, Xray, XrayUser};
use perennial_core::reconcile::{Comparison, Extra, Missing, Rightful};

use crate::Absent;
use crate::examined::Examined;
use crate::plan_file::SHARED_UUID;
use crate::putting::{Purpose, Put, Want, is_right};
use crate::worker::Worker;

/// Users that were replaced and their inbounds, to be looked at once more.
type Replaced = Vec<(Want, XrayUser)>;

impl<'a, X: Xray> Worker<'a, X> {
    /// Does what is to be done. Every chunk is complete in itself, so that the budget may end between any two. What kept
    /// unused credentials from being retired ends nothing else, and is told at the end.
    pub(crate) async fn act(&mut self, examined: &Examined) -> Result<(), Trouble> {
        self.act_on(examined).await?;
        self.doubt.take().map_or(Ok(()), |error| Err(error.into()))
    }

    async fn act_on(&mut self, examined: &Examined) -> Result<(), Trouble> {
        let Examined { comparison, brakes, .. } = examined;
        let restores = self.settings.absent == Absent::Restore;
        let missing = comparison.missing.iter().filter(|_| restores);
        let (shared, plain): (Vec<Missing>, Vec<Missing>) = missing.copied().partition(|missing| missing.shares_uuid);
        self.restore(&plain).await?;
        if !brakes.is_empty() {
            // Brakes never stop additions.
            return self.restore(&shared).await;
        }
        let mut replaced = self.disentangle(examined, &shared).await?;
        let misfits: Vec<Want> = comparison
            .misfits
            .iter()
            .filter(|misfit| !misfit.shares_uuid)
            .map(|misfit| Want {
                inbound: misfit.place.inbound,
                credential: misfit.credential,
                purpose: Purpose::Replace(misfit.wrong.word()),
            })
            .collect();
        for chunk in misfits.chunks(self.settings.batch_rows) {
            self.must_have_time()?;
            replaced.extend(self.replace(comparison, chunk, &[]).await?);
        }
        let (_, going) = examined.split_going(&examined.endangered());
        for chunk in going.chunks(self.settings.batch_rows) {
            self.must_have_time()?;
            self.take_off(comparison, chunk, &HashSet::new()).await?;
        }
        self.look_again(comparison, replaced).await?;
        self.remember_size().await
    }

    async fn restore(&mut self, missing: &[Missing]) -> Result<(), Trouble> {
        for chunk in missing.chunks(self.settings.batch_rows) {
            self.must_have_time()?;
            let wants: Vec<Want> = chunk.iter().map(want).collect();
            let Put { failed, .. } = self.put_on(&wants).await?;
            self.summary.failed += failed.len() as u64;
        }
        Ok(())
    }

    /// Where one UUID has several users, removing any of them cuts all: the server forgets the UUID, and goes on listing
    /// the others. So all that are concerned go first, and then those that have the right come. A crash in between
    /// leaves these missing, which the next pass sees; the other way round it would leave them listed and cut, which
    /// nobody ever sees.
    async fn disentangle(&mut self, examined: &Examined, missing: &[Missing]) -> Result<Replaced, Trouble> {
        let endangered = examined.endangered();
        let (going, _) = examined.split_going(&endangered);
        let misfits = examined.comparison.misfits.iter().filter(|misfit| misfit.shares_uuid);
        let rightful = |one: &Rightful| Want {
            inbound: one.place.inbound,
            credential: one.credential,
            purpose: Purpose::Replace(SHARED_UUID),
        };
        let wants: Vec<Want> = misfits
            .map(|misfit| Want {
                inbound: misfit.place.inbound,
                credential: misfit.credential,
                purpose: Purpose::Replace(misfit.wrong.word()),
            })
            .chain(endangered.iter().map(rightful))
            .chain(missing.iter().map(want))
            .collect();
        if wants.is_empty() && going.is_empty() {
            return Ok(Replaced::new());
        }
        self.must_have_time()?;
        self.replace(&examined.comparison, &wants, &going).await
    }

    /// Takes off what is wrong and what goes, then puts there what should be. Answers what was replaced and, with it,
    /// what could not be.
    async fn replace(&mut self, comparison: &Comparison, wants: &[Want], going: &[Extra]) -> Result<Replaced, Trouble> {
        let wants = self.strip(wants).await?;
        let put_back: HashSet<CredentialId> = wants.iter().map(|want| want.credential).collect();
        let taken = self.take_off(comparison, going, &put_back).await;
        // Whatever became of those: what was stripped has to be put back.
        let put = self.put_on(&wants).await?;
        taken?;
        for want in &put.failed {
            log::warn!(node = self.node.name.as_str(), credential_id = want.credential.0; "is tried once more");
        }
        let again = self.put_on(&put.failed).await?;
        self.summary.failed += again.failed.len() as u64;
        let right = put.right.into_iter().chain(again.right);
        Ok(right.filter(|one| one.want.purpose != Purpose::Restore).map(|one| (one.want, one.user)).collect())
    }

    /// Takes off those that are to be replaced, each asked for once more here and there: another copy may have replaced
    /// it. Answers what is to be put there.
    async fn strip(&mut self, wants: &[Want]) -> Result<Vec<Want>, Trouble> {
        let known = self.credentials(wants.iter().map(|want| want.credential)).await?;
        let mut wants: Vec<Want> = wants
            .iter()
            .copied()
            .filter(|want| known.get(&want.credential).is_some_and(|row| want.purpose.allows(row.standing)))
            .collect();
        let users: Vec<(Want, &'a InboundTag, XrayUser)> = wants
            .iter()
            .filter(|want| want.purpose != Purpose::Restore)
            .filter_map(|want| {
                let row = known.get(&want.credential)?;
                let (tag, flow) = self.inbound(want.inbound);
                let user = XrayUser { email: row.email.clone(), uuid: row.uuid.expose(), flow: flow.to_owned() };
                Some((*want, tag, user))
            })
            .collect();
        let xray = &self.node.xray;
        let found = self.call_each(&users, |(_, tag, user)| (*tag, xray.find_user(tag, &user.email))).await?;
        let is_repaired =
            |want: Want, user: &XrayUser, found| want.purpose != Purpose::Replace(SHARED_UUID) && is_right(user, found);
        let (repaired, wrong): (Vec<_>, Vec<_>) =
            users.into_iter().zip(&found).partition(|((want, _, user), found)| is_repaired(*want, user, found));
        let repaired: HashSet<(u16, CredentialId)> = repaired.iter().map(|((done, _, _), _)| key(done)).collect();
        wants.retain(|want| !repaired.contains(&key(want)));
        let wrong: Vec<(Want, &'a InboundTag, XrayUser)> = wrong.into_iter().map(|(user, _)| user).collect();
        let removed = self.call_each(&wrong, |(_, tag, user)| (*tag, xray.remove_user(tag, &user.email))).await?;
        crash_point!("reconcile.stripped");
        let taken = removed.iter().filter(|answer| matches!(answer, Ok(Removal::Removed))).count();
        log::debug!(node = self.node.name.as_str(), users = taken; "taken off to be put there anew");
        Ok(wants)
    }

    /// Lists the inbounds where users were replaced, once more: a removal that arrived late would have taken off the
    /// right one. Who is not there as it should be is replaced again, in this pass.
    async fn look_again(&mut self, comparison: &Comparison, replaced: Replaced) -> Result<(), Trouble> {
        let mut lists: HashMap<u16, UserList> = HashMap::new();
        for number in replaced.iter().map(|(want, _)| want.inbound).collect::<HashSet<u16>>() {
            self.must_have_time()?;
            lists.insert(number, self.node.xray.list_users(self.inbound(number).0).await?);
        }
        let is_there = |want: &Want, user: &XrayUser| {
            let found = lists.get(&want.inbound).and_then(|list| list.find(&user.email)).map(|listed| {
                perennial_core::ports::FoundUser {
                    email: user.email.clone(),
                    uuid: listed.uuid,
                    flow: listed.flow.to_owned(),
                }
            });
            is_right(user, &Ok(found))
        };
        let again: Vec<Want> =
            replaced.iter().filter(|(want, user)| !is_there(want, user)).map(|(want, _)| *want).collect();
        drop(lists);
        for chunk in again.chunks(self.settings.batch_rows) {
            self.must_have_time()?;
            self.replace(comparison, chunk, &[]).await?;
        }
        Ok(())
    }

    /// What the next list is compared with: this one, with what was done since. Not after a brake has spoken: a list that
    /// is too short must not become the measure by being short twice; nor while an inbound is not listed.
    async fn remember_size(&self) -> Result<(), Trouble> {
        if !self.unusable.borrow().is_empty() {
            return Ok(());
        }
        let users = (self.summary.listed + self.summary.restored).saturating_sub(self.summary.removed);
        let users = i64::try_from(users).unwrap_or(i64::MAX);
        let name = &self.node.name;
        self.db.run_tx("set_list_size", async |tx| tx.set_list_size(name, users).await).await?;
        Ok(())
    }
}

fn want(missing: &Missing) -> Want {
    Want { inbound: missing.inbound, credential: missing.credential, purpose: Purpose::Restore }
}

fn key(want: &Want) -> (u16, CredentialId) {
    (want.inbound, want.credential)
}
