use super::*;

const PRESENT: [OnNode; 3] = [OnNode::Right, OnNode::Wrong(Wrong::Uuid), OnNode::Wrong(Wrong::Flow)];
const STANDINGS: [Standing; 5] =
    [Standing::Unknown, Standing::Closed, Standing::Unused, Standing::Used, Standing::Entitled];
const GROUPS: [GroupMatch; 2] = [GroupMatch::Own, GroupMatch::Other];
const OWNERS: [Owner; 3] = [Owner::Us, Owner::Protected, Owner::Other];

/// All cases, as one table: on the node, standing, group, owner.
fn cases() -> impl Iterator<Item = (OnNode, Standing, GroupMatch, Owner)> {
    let on_node = [OnNode::Absent].into_iter().chain(PRESENT);
    on_node.flat_map(|on_node| {
        STANDINGS.into_iter().flat_map(move |standing| {
            GROUPS
                .into_iter()
                .flat_map(move |group| OWNERS.into_iter().map(move |owner| (on_node, standing, group, owner)))
        })
    })
}

fn all_of(
    on_node: &[OnNode],
    standings: &[Standing],
    groups: &[GroupMatch],
    owners: &[Owner],
) -> Vec<(OnNode, Standing, GroupMatch, Owner)> {
    cases()
        .filter(|(n, s, g, o)| on_node.contains(n) && standings.contains(s) && groups.contains(g) && owners.contains(o))
        .collect()
}

#[test]
fn the_case_list_is_total_and_each_case_has_one_answer() {
    let touchable = [Owner::Us, Owner::Other];
    let own = [GroupMatch::Own];
    let in_use = [Standing::Used, Standing::Entitled];
    let not_entitled = [Standing::Unknown, Standing::Closed, Standing::Unused, Standing::Used];
    let open = [Standing::Unused, Standing::Used, Standing::Entitled];
    let table = [
        (all_of(&[OnNode::Absent], &[Standing::Entitled], &own, &OWNERS), Decision::Add),
        (all_of(&[OnNode::Absent], &[Standing::Entitled], &[GroupMatch::Other], &OWNERS), Decision::Nothing),
        (all_of(&[OnNode::Absent], &not_entitled, &GROUPS, &OWNERS), Decision::Nothing),
        (all_of(&PRESENT, &STANDINGS, &GROUPS, &[Owner::Protected]), Decision::Protected),
        (all_of(&PRESENT, &[Standing::Closed], &GROUPS, &touchable), Decision::Remove),
        (all_of(&PRESENT, &[Standing::Unknown], &GROUPS, &[Owner::Us]), Decision::Watch(Watched::Unknown)),
        (all_of(&PRESENT, &[Standing::Unknown], &GROUPS, &[Owner::Other]), Decision::Foreign),
        (all_of(&PRESENT, &open, &[GroupMatch::Other], &touchable), Decision::Watch(Watched::OtherGroup)),
        (all_of(&PRESENT, &[Standing::Unused], &own, &touchable), Decision::Watch(Watched::Unused)),
        (all_of(&[OnNode::Right], &in_use, &own, &touchable), Decision::Keep),
        (all_of(&[OnNode::Wrong(Wrong::Uuid)], &in_use, &own, &touchable), Decision::Replace(Wrong::Uuid)),
        (all_of(&[OnNode::Wrong(Wrong::Flow)], &in_use, &own, &touchable), Decision::Replace(Wrong::Flow)),
    ];
    let mut seen = Vec::new();
    for (rows, expected) in table {
        assert!(!rows.is_empty(), "no case for {expected:?}");
        for case in rows {
            let (on_node, standing, group, owner) = case;
            assert_eq!(decide(on_node, standing, group, owner), expected, "{case:?}");
            assert!(!seen.contains(&case), "two rows of the table for {case:?}");
            seen.push(case);
        }
    }
    assert_eq!(seen.len(), cases().count(), "a case without a row");
}

/// R-01, E-01: whatever else is true, a right is never removed without being put back.
#[test]
fn nothing_that_is_in_use_in_its_own_group_is_ever_removed_for_good() {
    for (on_node, standing, group, owner) in cases() {
        if standing.is_in_use() && group == GroupMatch::Own {
            let decision = decide(on_node, standing, group, owner);
            assert!(!matches!(decision, Decision::Remove | Decision::Watch(_)), "{decision:?}");
        }
    }
}

/// ownership is in the e-mail.
#[test]
fn what_is_not_ours_and_unknown_is_never_touched() {
    for (on_node, _, group, owner) in cases() {
        let decision = decide(on_node, Standing::Unknown, group, owner);
        if owner != Owner::Us {
            assert!(matches!(decision, Decision::Nothing | Decision::Foreign | Decision::Protected), "{decision:?}");
        }
    }
}

#[test]
fn ours_begin_with_the_prefix_and_are_plain() {
    let owners = Owners::new("p.", &["P.vip".to_owned(), "admin.".to_owned()]);
    for (email, owner) in [
        ("p.1", Owner::Us),
        ("p.", Owner::Us),
        ("p.anything-at_all@x", Owner::Us),
        ("p.vip", Owner::Protected),
        ("p.vip7", Owner::Protected),
        ("admin.p.1", Owner::Protected),
        ("q.1", Owner::Other),
        ("xp.1", Owner::Other),
        ("", Owner::Other),
        // No e-mail of ours has such characters, and the client could not send it.
        ("p.ю", Owner::Other),
        ("p.1>>>traffic", Owner::Other),
    ] {
        assert_eq!(owners.of(email), owner, "{email}");
    }
    assert_eq!(owners.of(&format!("p.{}", "1".repeat(127))), Owner::Other, "longer than the database takes");
}
