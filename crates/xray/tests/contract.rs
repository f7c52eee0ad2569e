//! What Xray does, written once and played on the fake and on real servers.
//!
//! A scenario that fails on a real server alone means that Xray is not as the client believes; on the fake alone, that
//! the fake is not as Xray. Real servers come from `scripts/install-xray.sh`; where they are missing, their part is
//! skipped and says so, but not in CI.

#![allow(clippy::unwrap_used)] // a test stops at the first surprise

#[path = "contract/answers.rs"]
mod answers;
#[path = "contract/nodes.rs"]
mod nodes;
#[path = "contract/raw.rs"]
mod raw;
#[path = "contract/servers.rs"]
mod servers;
#[path = "contract/users.rs"]
mod users;

use perennial_testkit::real_xray::Version;

use servers::Kind;

fn play(kind: Option<Kind>, scenario: impl AsyncFn(&Kind)) {
    let Some(kind) = kind else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scenario(&kind));
}

macro_rules! scenarios {
    ($($file:ident :: $name:ident),* $(,)?) => {
        mod fake {
            $(#[test] fn $name() { super::play(Some(super::Kind::Fake), super::$file::$name); })*
        }
        mod xray_26_7_28 {
            $(#[test] fn $name() { super::play(super::Kind::real(super::Version::V26_7_28), super::$file::$name); })*
        }
        mod xray_26_10_10 {
            $(#[test] fn $name() { super::play(super::Kind::real(super::Version::V26_10_10), super::$file::$name); })*
        }
    };
}

scenarios! {
    users::an_added_user_can_connect_until_removed,
    users::adding_an_e_mail_again_changes_nothing,
    users::removing_who_is_not_there_says_so,
    users::a_replaced_user_connects_with_the_new_uuid_only,
    users::two_users_of_one_uuid_are_both_cut_off_by_the_removal_of_either,
    users::uuids_that_differ_in_their_third_group_are_one_credential,
    users::a_restart_forgets_the_added_and_brings_back_the_configured,
    users::a_user_without_an_e_mail_is_invisible,
    users::an_e_mail_in_capitals_is_listed_and_removed_in_lower_case,
    users::a_flow_is_kept_as_sent,
    users::many_calls_at_once_are_all_done,
    users::a_removed_user_stays_connected_and_is_counted_as_online,
    nodes::a_wrong_tag_is_the_settings_fault_and_removes_nobody,
    nodes::an_inbound_without_users_is_the_settings_fault,
    nodes::an_inbound_of_another_protocol_is_never_written_to,
    nodes::a_node_says_how_long_it_runs_and_what_inbounds_it_has,
    nodes::a_service_that_is_not_offered_is_named,
    nodes::a_list_beyond_the_limit_names_the_setting,
    nodes::a_server_that_went_away_is_unreachable_and_found_again,
    answers::every_answer_is_as_measured,
    answers::a_request_without_operation_ends_the_server,
    answers::an_account_of_another_protocol_ends_the_server,
    answers::a_vless_account_on_another_inbound_ends_the_server,
}
