use uuid::Uuid;

use super::*;
use crate::ids::{TelegramId, VpnUuid};
use crate::ports::InboundTag;

const EMAILS: [&str; 4] = ["other.1", "p.1", "p.2", "p.3"];

/// Where one e-mail stands in the database of a case. Closed ones and strangers come to light by the look-up alone.
const STANDINGS: [Standing; 4] = [Standing::Unknown, Standing::Closed, Standing::Unused, Standing::Entitled];

fn inbound(tag: &str, group: &str) -> Inbound {
    Inbound { tag: InboundTag(tag.to_owned()), group: group.to_owned(), flow: String::new() }
}

fn row(email: &str, uuid: u128, standing: Standing) -> CredentialState {
    CredentialState {
        id: CredentialId(i64::try_from(uuid).unwrap()),
        telegram_id: TelegramId(7),
        email: email.to_owned(),
        uuid: VpnUuid::new(Uuid::from_u128(uuid)),
        access_group: "basic".to_owned(),
        standing,
    }
}

fn list(users: &[(&str, u128)]) -> UserList {
    UserList::collect(users.iter().map(|(email, uuid)| ListedUser {
        email,
        uuid: Some(Uuid::from_u128(*uuid)),
        flow: "",
    }))
    .unwrap()
}

/// As `compare` does it: open credentials in order, then a look-up of what is left over, one e-mail at a time.
fn merged(inbounds: &[Inbound], lists: Vec<UserList>, rows: &[CredentialState]) -> Comparison {
    let owners = Owners::new("p.", &["p.protected".to_owned()]);
    let mut merge = Merge::of(inbounds, &owners, lists.into_iter().map(Ok).collect());
    for row in rows.iter().filter(|row| row.standing.is_open()) {
        merge.take(row);
    }
    for from in 0..merge.end_of_credentials() {
        let emails = merge.leftovers(from, 1);
        let known: Vec<CredentialState> =
            rows.iter().filter(|row| emails.contains(&row.email.as_str())).cloned().collect();
        merge.take_leftovers(from, 1, &known);
    }
    merge.finish()
}

fn emails(comparison: &Comparison, places: impl Iterator<Item = Place>) -> Vec<&str> {
    let mut emails: Vec<&str> = places.map(|at| comparison.user(at).email).collect();
    emails.sort_unstable();
    emails
}

/// Every subset of four e-mails on the list times every state of each in the database.
#[test]
fn a_merge_decides_as_if_it_looked_at_each_e_mail_alone() {
    let inbounds = [inbound("in", "basic")];
    for case in 0..8_u32.pow(4) {
        let places: Vec<(bool, Standing)> = (0..4)
            .map(|index| case / 8_u32.pow(index) % 8)
            .map(|state| (state < 4, STANDINGS[state as usize % 4]))
            .collect();
        let users: Vec<(&str, u128)> =
            (0..4).filter(|index| places[*index].0).map(|index| (EMAILS[index], index as u128 + 1)).collect();
        let rows: Vec<CredentialState> = (0..4)
            .filter(|index| places[*index].1 != Standing::Unknown)
            .map(|index| row(EMAILS[index], index as u128 + 1, places[index].1))
            .collect();
        let comparison = merged(&inbounds, vec![list(&users)], &rows);

        let expected = |wanted: Decision| -> Vec<&str> {
            let decided = EMAILS.iter().zip(&places).filter(|(email, (listed, standing))| {
                let owner = if email.starts_with("p.") { Owner::Us } else { Owner::Other };
                let on_node = if *listed { OnNode::Right } else { OnNode::Absent };
                decide(on_node, *standing, GroupMatch::Own, owner) == wanted
            });
            decided.map(|(email, _)| *email).collect()
        };
        let going = |why| {
            let extras = comparison.extras.iter().filter(move |extra| extra.why == why);
            emails(&comparison, extras.map(|extra| extra.place))
        };
        assert_eq!(going(Why::Closed), expected(Decision::Remove), "{places:?}");
        for watched in [Watched::Unknown, Watched::Unused] {
            assert_eq!(going(Why::Watched(watched)), expected(Decision::Watch(watched)), "{places:?}");
        }
        let missing: Vec<&str> = comparison
            .missing
            .iter()
            .map(|missing| EMAILS[usize::try_from(missing.credential.0).unwrap() - 1])
            .collect();
        assert_eq!(missing, expected(Decision::Add), "{places:?}");
        assert_eq!(comparison.foreign, expected(Decision::Foreign).len() as u64, "{places:?}");
        assert_eq!(comparison.listed, users.len() as u64);
        assert!(comparison.misfits.is_empty() && comparison.rightful.is_empty() && comparison.sharing == 0);
        let entitled = places.iter().filter(|(_, standing)| *standing == Standing::Entitled).count();
        assert_eq!(comparison.entitled, entitled as u64);
        assert_eq!(comparison.knows_anybody, rows.iter().any(|row| row.standing.is_open()) || known(&users, &rows));
    }
}

fn known(users: &[(&str, u128)], rows: &[CredentialState]) -> bool {
    users.iter().any(|(email, _)| rows.iter().any(|row| row.email == *email))
}

#[test]
fn each_inbound_is_judged_by_the_group_it_serves() {
    let inbounds = [inbound("a", "basic"), inbound("b", "basic"), inbound("c", "plus")];
    let lists = vec![list(&[("p.1", 1)]), list(&[]), list(&[("p.1", 1), ("p.2", 2)])];
    let rows = [row("p.1", 1, Standing::Entitled), row("p.2", 2, Standing::Closed)];
    let comparison = merged(&inbounds, lists, &rows);
    let missing: Vec<(u16, i64)> = comparison.missing.iter().map(|m| (m.inbound, m.credential.0)).collect();
    assert_eq!(missing, [(1, 1)], "missing on the other inbound of its group, and on no other group's");
    assert_eq!(comparison.entitled, 2);
    let extras: Vec<(u16, &str, Why)> = comparison
        .extras
        .iter()
        .map(|extra| (extra.place.inbound, comparison.user(extra.place).email, extra.why))
        .collect();
    assert_eq!(extras, [(2, "p.1", Why::Watched(Watched::OtherGroup)), (2, "p.2", Why::Closed)]);
}

#[test]
fn a_wrong_uuid_or_flow_is_a_misfit_and_bytes_six_and_seven_do_not_count() {
    let flow = "xtls-rprx-vision";
    let inbounds = [Inbound { flow: flow.to_owned(), ..inbound("in", "basic") }];
    let ignored = 0xffff_u128 << 64;
    let user = |email, uuid: u128, flow| ListedUser { email, uuid: Some(Uuid::from_u128(uuid)), flow };
    let users = [
        user("p.1", 1 | ignored, flow),
        user("p.2", 99, flow),
        user("p.3", 3, ""),
        ListedUser { email: "p.4", uuid: None, flow },
    ];
    let rows: Vec<CredentialState> = (1..5).map(|n| row(&format!("p.{n}"), n, Standing::Entitled)).collect();
    let comparison = merged(&inbounds, vec![UserList::collect(users).unwrap()], &rows);
    let misfits: Vec<(&str, Wrong)> =
        comparison.misfits.iter().map(|m| (comparison.user(m.place).email, m.wrong)).collect();
    assert_eq!(misfits, [("p.2", Wrong::Uuid), ("p.3", Wrong::Flow), ("p.4", Wrong::Uuid)]);
    assert_eq!((comparison.own_listed, comparison.own_known), (4, 2), "known is who has e-mail and UUID");
}

#[test]
fn whoever_shares_a_uuid_is_told() {
    let inbounds = [inbound("in", "basic")];
    let ignored = 0x4711_u128 << 64;
    // A stranger has the UUID of p.1; p.2 has that of p.3; somebody else has the one that p.4 must get.
    let lists = vec![list(&[("p.1", 1), ("p.x", 1 | ignored), ("p.2", 3), ("p.3", 3), ("other.4", 4), ("p.5", 5)])];
    let rows: Vec<CredentialState> = (1..6).map(|n| row(&format!("p.{n}"), n, Standing::Entitled)).collect();
    let comparison = merged(&inbounds, lists, &rows);
    let rightful = emails(&comparison, comparison.rightful.iter().map(|one| one.place));
    assert_eq!(rightful, ["p.1", "p.3"], "p.5 shares with nobody");
    let misfits: Vec<(&str, bool)> =
        comparison.misfits.iter().map(|m| (comparison.user(m.place).email, m.shares_uuid)).collect();
    assert_eq!(misfits, [("p.2", true)]);
    let missing: Vec<(i64, bool)> = comparison.missing.iter().map(|m| (m.credential.0, m.shares_uuid)).collect();
    assert_eq!(missing, [(4, true)]);
    assert!(comparison.contested.contains(&(0, UuidKey::of(Uuid::from_u128(4)))));
    assert_eq!(comparison.sharing, 4, "p.1 and p.x, p.2 and p.3");
}

#[test]
fn protected_users_are_counted_whatever_the_database_says_of_them() {
    let inbounds = [inbound("in", "basic")];
    let lists = vec![list(&[("p.protected.1", 1), ("p.protected.2", 2), ("p.protected.3", 3)])];
    let rows = [row("p.protected.1", 9, Standing::Entitled), row("p.protected.2", 2, Standing::Closed)];
    let comparison = merged(&inbounds, lists, &rows);
    assert_eq!((comparison.protected, comparison.foreign), (3, 0));
    assert!(comparison.extras.is_empty() && comparison.misfits.is_empty() && comparison.missing.is_empty());
}

#[test]
fn an_e_mail_listed_twice_is_judged_twice() {
    let inbounds = [inbound("in", "basic")];
    let lists = vec![list(&[("p.1", 1), ("p.1", 1)])];
    let comparison = merged(&inbounds, lists, &[row("p.1", 1, Standing::Unused)]);
    assert_eq!(comparison.extras.len(), 2);
}
