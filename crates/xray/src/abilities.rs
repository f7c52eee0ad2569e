//! What a server can do, for whoever sets one up. No call tells its release, so its calls are tried, newest first; none
//! of them changes anything.

use std::collections::BTreeSet;
use std::time::Duration;

use perennial_core::ports::{InboundTag, XrayError};

use crate::failure::{Effect, Failure};
use crate::node::XrayNode;
use crate::online::offered;
use crate::refusal::{self, NotOffered, Refusal};
use crate::xray::of_inbound;

/// What a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// The release from which on the newest call it has is there; none: it has none of the newer ones.
    pub at_least: Option<&'static str>,
    /// Since when it runs; none without StatsService.
    pub uptime: Option<Duration>,
    /// Its inbounds, where it can list them.
    pub inbounds: Option<Vec<InboundTag>>,
    /// It can tell who is connected, and from where.
    pub tells_online: bool,
}

impl XrayNode {
    /// Finds out what the server offers.
    ///
    /// # Errors
    /// [`XrayError`]; a call or service that is not offered is none.
    pub async fn abilities(&self) -> Result<Abilities, XrayError> {
        let found = self.on_connection(async |connection| {
            let (nobody, deadline) = (BTreeSet::new(), self.list_deadline());
            // First what is answered at once: a server that hangs costs one short deadline.
            let uptime = offered(self.uptime(connection).await)?;
            let inbounds = match self.inbounds(connection).await {
                Err(failure) if lacks_service(&failure) => None,
                answered => answered?,
            };
            let all = offered(self.all_with_addresses(connection, &nobody, deadline).await)?.is_some();
            let names = all || offered(self.all_names(connection, &nobody, deadline).await)?.is_some();
            // Nobody has this name: a server with the call says so.
            let one = || self.addresses_of(connection, "nobody".to_owned(), deadline);
            let one = names || offered(one().await)?.is_some();
            let newest = [(all, "v26.4.13"), (names, "v26.1.13"), (inbounds.is_some(), "v25.6.8"), (one, "v25.2.18")];
            let at_least = newest.into_iter().find_map(|(has, release)| has.then_some(release));
            Ok(Abilities { at_least, uptime, inbounds, tells_online: one })
        });
        found.await.map_err(|failure| failure.into_error(self.name(), Effect::Reads))
    }

    /// Makes sure that users can be put on an inbound and taken off it: that it is there, and VLESS.
    ///
    /// # Errors
    /// [`XrayError::Misconfigured`] says what to set right.
    pub async fn check_inbound(&self, inbound: &InboundTag) -> Result<(), XrayError> {
        let checked =
            self.on_connection(async |connection| self.check_vless(connection, inbound, self.call_deadline()).await);
        checked.await.map_err(|failure| of_inbound(inbound, failure.into_error(self.name(), Effect::Reads)))
    }
}

fn lacks_service(failure: &Failure) -> bool {
    let Failure::Refused(status) = failure else { return false };
    matches!(refusal::read(status, ""), Refusal::NotOffered(NotOffered::Service(_)))
}
