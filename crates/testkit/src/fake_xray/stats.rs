//! `StatsService`: uptime, and who is connected.

use std::collections::HashMap;

use tonic::{Request, Response, Status, async_trait};

use super::calls::{Call, Kind};
use super::shared::Shared;
use super::state::{State, Trouble};
use super::wire::stats::stats_service_server::StatsService;
use super::wire::stats::{
    GetAllOnlineUsersRequest, GetAllOnlineUsersResponse, GetStatsOnlineIpListResponse, GetStatsRequest,
    GetUsersStatsRequest, GetUsersStatsResponse, OnlineIp, SysStatsRequest, SysStatsResponse, UserStat,
};

/// When everybody was seen last; nobody looks at it.
const LAST_SEEN: i64 = 1_800_000_000;

fn map_name(email: &str) -> String {
    format!("user>>>{email}>>>online")
}

#[async_trait]
impl StatsService for Shared {
    async fn get_sys_stats(&self, _: Request<SysStatsRequest>) -> Result<Response<SysStatsResponse>, Status> {
        let apply = |state: &mut State| {
            Ok(SysStatsResponse { uptime: u32::try_from(state.uptime().as_secs()).unwrap_or(u32::MAX) })
        };
        self.perform(Call::new(Kind::SysStats, "", ""), apply).await
    }

    async fn get_users_stats(
        &self,
        _: Request<GetUsersStatsRequest>,
    ) -> Result<Response<GetUsersStatsResponse>, Status> {
        let apply = |state: &mut State| {
            let user = |(email, addresses): (&String, &Vec<String>)| UserStat {
                email: email.clone(),
                ips: addresses.iter().map(|ip| OnlineIp { ip: ip.clone(), last_seen: LAST_SEEN }).collect(),
            };
            Ok(GetUsersStatsResponse { users: state.online().iter().map(user).collect() })
        };
        self.perform(Call::new(Kind::UsersStats, "", ""), apply).await
    }

    async fn get_all_online_users(
        &self,
        _: Request<GetAllOnlineUsersRequest>,
    ) -> Result<Response<GetAllOnlineUsersResponse>, Status> {
        let apply = |state: &mut State| {
            Ok(GetAllOnlineUsersResponse { users: state.online().keys().map(|email| map_name(email)).collect() })
        };
        self.perform(Call::new(Kind::AllOnline, "", ""), apply).await
    }

    async fn get_stats_online_ip_list(
        &self,
        request: Request<GetStatsRequest>,
    ) -> Result<Response<GetStatsOnlineIpListResponse>, Status> {
        let name = request.into_inner().name;
        let email = name.strip_prefix("user>>>").and_then(|rest| rest.strip_suffix(">>>online")).unwrap_or("");
        let call = Call::new(Kind::OnlineIps, "", email);
        let apply = move |state: &mut State| {
            let found = state.online().iter().find(|(email, _)| map_name(email) == name);
            let Some((_, addresses)) = found else { return Err(Trouble::NoSuchName(name)) };
            let ips: HashMap<String, i64> = addresses.iter().map(|ip| (ip.clone(), LAST_SEEN)).collect();
            Ok(GetStatsOnlineIpListResponse { name, ips })
        };
        self.perform(call, apply).await
    }
}
