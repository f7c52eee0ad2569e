use super::*;
use perennial_core::time::from_micros;

fn at(second: i64) -> Timestamp {
    from_micros(1_700_000_000_000_000 + second * 1_000_000).unwrap()
}

fn plan() -> PlanFile {
    let item = Item {
        inbound: "vless-in".to_owned(),
        email: "p.7".to_owned(),
        credential: Some(7),
        action: Action::Remove,
        reason: "closed".to_owned(),
    };
    let node = PlannedNode { name: "de1".to_owned(), listed: 3, brakes: Vec::new(), items: vec![item] };
    PlanFile::new("42/perennial".to_owned(), at(0), vec![node])
}

#[test]
fn a_plan_is_read_as_it_was_written_and_by_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    fs::write(&file, "what stood there before").unwrap();
    plan().write(&file).unwrap();
    assert_eq!(PlanFile::read(&file).unwrap(), plan());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_is_no_plan_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    plan().write(&file).unwrap();
    let good = fs::read_to_string(&file).unwrap();
    for (text, problem) in [
        (String::new(), "is no plan"),
        ("{}".to_owned(), "is no plan"),
        (good[..good.len() / 2].to_owned(), "is no plan"),
        (good.replace("p.7", "p.8"), "was changed after it was made"),
        (good.replace("\"format\": 1", "\"format\": 2"), "is a plan of form 2"),
        (good.replace("\"listed\": 3", "\"listed\": 3, \"more\": 1"), "is no plan"),
        (good.replace("\"remove\"", "\"explode\""), "is no plan"),
    ] {
        fs::write(&file, &text).unwrap();
        let refused = PlanFile::read(&file).unwrap_err();
        assert!(refused.starts_with(problem), "{refused}: {text}");
    }
    let missing = PlanFile::read(&folder.path().join("nothing")).unwrap_err();
    assert!(missing.starts_with("cannot be read"), "{missing}");
}

#[test]
fn a_plan_is_good_for_an_hour_on_its_own_database() {
    let plan = plan();
    assert_eq!(plan.refusal("42/perennial", at(0)), None);
    assert_eq!(plan.refusal("42/perennial", at(3_600)), None);
    for (database, second, problem) in [
        ("42/perennial", 3_601, "the plan is 60 minutes old"),
        ("42/perennial", -1, "the plan was made in the future"),
        ("43/perennial", 0, "the plan was made from database 42/perennial, this is 43/perennial"),
        ("42/stage", 0, "the plan was made from database 42/perennial, this is 42/stage"),
    ] {
        let refused = plan.refusal(database, at(second)).unwrap();
        assert!(refused.starts_with(problem), "{refused}");
    }
}

#[test]
fn no_byte_of_a_plan_can_be_changed_unnoticed() {
    let good = serde_json::to_string(&plan()).unwrap();
    assert_eq!(PlanFile::parse(&good), Ok(plan()));
    for place in 0..good.len() {
        for flipped in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[place] ^= 1 << flipped;
            // What differs in letters alone (an escape, a blank) may still be the same plan.
            if let Ok(Ok(read)) = String::from_utf8(bytes).map(|text| PlanFile::parse(&text)) {
                assert_eq!(read, plan(), "bit {flipped} of byte {place}");
            }
        }
    }
}

#[test]
fn a_plan_made_at_the_ends_of_time_is_refused_by_its_age() {
    for (created_at, problem) in
        [("0001-01-01T00:00:00Z", "minutes old"), ("9999-12-31T23:59:59.999999Z", "was made in the future")]
    {
        let mut strange = plan();
        strange.created_at = created_at.to_owned();
        strange.digest = strange.digest_of_the_rest();
        let read = PlanFile::parse(&serde_json::to_string(&strange).unwrap()).unwrap();
        let refused = read.refusal("42/perennial", at(0)).unwrap();
        assert!(refused.contains(problem), "{refused}");
    }
}
