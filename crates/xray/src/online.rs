//! Who is connected. Each newer call of the server answers in one go what the older ones have to be asked piece by
//! piece.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use perennial_core::ports::OnlineUser;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::node::XrayNode;
use crate::refusal::{self, Refusal};
use crate::wire::stats::{GetAllOnlineUsersRequest, GetStatsRequest, GetUsersStatsRequest};

/// The name of a user's map of addresses, around the e-mail.
const MAP_START: &str = "user>>>";
const MAP_END: &str = ">>>online";

impl XrayNode {
    /// Those of `emails` who are connected, in order; none where the server does not count it. All of it within one
    /// list timeout.
    ///
    /// A server with `statsUserOnline` off answers as if nobody were connected, and so do those that count no
    /// connections from the server itself.
    pub(crate) async fn online_on(
        &self,
        connection: &Arc<Connection>,
        emails: &[String],
    ) -> Result<Option<Vec<OnlineUser>>, Failure> {
        let asked: BTreeSet<&str> = emails.iter().map(String::as_str).collect();
        let deadline = self.list_deadline();
        if let Some(online) = offered(self.all_with_addresses(connection, &asked, deadline).await)? {
            return Ok(Some(online));
        }
        let online = match offered(self.all_names(connection, &asked, deadline).await)? {
            Some(online) => online,
            None => asked.into_iter().map(str::to_owned).collect(),
        };
        offered(self.addresses(connection, online, deadline).await)
    }

    /// v26.4.13: everybody with everything.
    pub(crate) async fn all_with_addresses(
        &self,
        connection: &Arc<Connection>,
        asked: &BTreeSet<&str>,
        deadline: Instant,
    ) -> Result<Vec<OnlineUser>, Failure> {
        let mut stats = self.stats(connection);
        let request = GetUsersStatsRequest { include_traffic: false, reset: false };
        let answer = self.answer(connection, deadline, stats.get_users_stats(request)).await?;
        let mut online = BTreeMap::<String, Vec<String>>::new();
        for user in answer.into_inner().users {
            let email = user.email.to_lowercase();
            if asked.contains(email.as_str()) && !user.ips.is_empty() {
                online.entry(email).or_default().extend(user.ips.into_iter().map(|seen| seen.ip));
            }
        }
        Ok(online.into_iter().map(|(email, addresses)| OnlineUser { email, addresses }).collect())
    }

    /// v26.1.13: the names of everybody's maps.
    pub(crate) async fn all_names(
        &self,
        connection: &Arc<Connection>,
        asked: &BTreeSet<&str>,
        deadline: Instant,
    ) -> Result<BTreeSet<String>, Failure> {
        let mut stats = self.stats(connection);
        let answer = self.answer(connection, deadline, stats.get_all_online_users(GetAllOnlineUsersRequest {})).await?;
        let names = answer.into_inner().users.into_iter();
        let emails = names.filter_map(|name| email_of(&name).map(str::to_lowercase));
        Ok(emails.filter(|email| asked.contains(email.as_str())).collect())
    }

    /// v25.2.18: the addresses of one after the other.
    async fn addresses(
        &self,
        connection: &Arc<Connection>,
        emails: BTreeSet<String>,
        deadline: Instant,
    ) -> Result<Vec<OnlineUser>, Failure> {
        let each = stream::iter(emails).map(|email| self.addresses_of(connection, email, deadline));
        let found: Vec<Option<OnlineUser>> = each.buffered(self.settings.max_in_flight.max(1)).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(crate) async fn addresses_of(
        &self,
        connection: &Arc<Connection>,
        email: String,
        deadline: Instant,
    ) -> Result<Option<OnlineUser>, Failure> {
        let mut stats = self.stats(connection);
        let request = GetStatsRequest { name: format!("{MAP_START}{email}{MAP_END}"), reset: false };
        match self.answer(connection, deadline, stats.get_stats_online_ip_list(request)).await {
            Ok(answer) => {
                let mut addresses: Vec<String> = answer.into_inner().ips.into_keys().collect();
                addresses.sort_unstable();
                Ok((!addresses.is_empty()).then_some(OnlineUser { email, addresses }))
            }
            Err(Failure::Refused(status)) if refusal::read(&status, "") == Refusal::NoSuchName => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// The e-mail in the name of a map.
fn email_of(name: &str) -> Option<&str> {
    name.strip_prefix(MAP_START)?.strip_suffix(MAP_END)
}

/// None where the server lacks this call or the whole service.
pub(crate) fn offered<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Failure::Refused(status)) if matches!(refusal::read(&status, ""), Refusal::NotOffered(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_e_mail_stands_between_the_ends_of_a_maps_name() {
        assert_eq!(email_of("user>>>p.1>>>online"), Some("p.1"));
        assert_eq!(email_of("user>>>p.1>>>traffic>>>uplink"), None);
        assert_eq!(email_of("p.1"), None);
    }
}
