//! The one price, SQL function `price_kopecks`, in a table and against sums of our own.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::{run, text};
use perennial_testkit::db_test;
use proptest::prelude::*;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// The highest list and agreed price that the schema takes.
const HIGHEST: i64 = 1_000_000_000_000;

/// What a price is made of.
#[derive(Debug, Clone, Copy)]
struct Terms {
    list: Option<i64>,
    agreed: Option<i64>,
    vip: bool,
    discount: Option<i32>,
}

async fn prices(client: &Client, all: &[Terms]) -> Vec<Option<i64>> {
    let lists: Vec<Option<i64>> = all.iter().map(|terms| terms.list).collect();
    let agreed: Vec<Option<i64>> = all.iter().map(|terms| terms.agreed).collect();
    let vips: Vec<bool> = all.iter().map(|terms| terms.vip).collect();
    let discounts: Vec<Option<i32>> = all.iter().map(|terms| terms.discount).collect();
    let sql = "SELECT price_kopecks(t.list, t.agreed, t.vip, t.discount)
               FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS t (list, agreed, vip, discount, n) ORDER BY t.n";
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&lists, Type::INT8_ARRAY),
        (&agreed, Type::INT8_ARRAY),
        (&vips, Type::BOOL_ARRAY),
        (&discounts, Type::INT4_ARRAY),
    ];
    let rows = client.query_typed(sql, &parameters).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_price_is_the_agreed_one_else_the_list_less_thirty_percent_or_a_discount_rounded_down() {
    let rows = [
        // list, agreed, vip, discount, price
        (Some(19_900), None, false, None, Some(19_900)),
        (Some(0), None, false, None, Some(0)),
        (Some(0), None, true, Some(50), Some(0)),
        // Agreed: as it stands, whatever else is true, 0 too, and without a list price.
        (Some(19_900), Some(9_900), false, None, Some(9_900)),
        (Some(19_900), Some(9_900), true, Some(100), Some(9_900)),
        (Some(19_900), Some(29_900), false, None, Some(29_900)),
        (Some(19_900), Some(0), false, None, Some(0)),
        (None, Some(5), false, None, Some(5)),
        (None, None, true, Some(10), None),
        // VIP beats a discount, a greater one as well.
        (Some(19_900), None, true, None, Some(13_930)),
        (Some(19_900), None, true, Some(10), Some(13_930)),
        (Some(19_900), None, true, Some(90), Some(13_930)),
        (Some(19_900), None, true, Some(0), Some(13_930)),
        // Discounts, rounded down to a whole kopeck.
        (Some(19_900), None, false, Some(0), Some(19_900)),
        (Some(19_900), None, false, Some(100), Some(0)),
        (Some(29), None, false, None, Some(29)),
        (Some(29), None, false, Some(1), Some(28)),
        (Some(29), None, false, Some(10), Some(26)),
        (Some(29), None, true, None, Some(20)),
        (Some(1), None, false, Some(1), Some(0)),
        (Some(1), None, true, None, Some(0)),
        (Some(99), None, false, Some(99), Some(0)),
        (Some(101), None, false, Some(99), Some(1)),
        (Some(57), None, false, Some(0), Some(57)), // 0.57 × 100 is 56.99… in floating point
        // The highest there is.
        (Some(HIGHEST), None, false, None, Some(HIGHEST)),
        (Some(HIGHEST), None, false, Some(1), Some(990_000_000_000)),
        (Some(HIGHEST), None, true, None, Some(700_000_000_000)),
        (Some(HIGHEST - 1), None, false, Some(99), Some(9_999_999_999)),
        (Some(1), Some(HIGHEST), true, Some(100), Some(HIGHEST)),
    ];
    db_test(async |db| {
        let client = db.client().await;
        let terms = rows.map(|(list, agreed, vip, discount, _)| Terms { list, agreed, vip, discount });
        let answered = prices(&client, &terms).await;
        for (row, price) in rows.iter().zip(answered) {
            assert_eq!(price, row.4, "{row:?}");
        }
    });
}

#[test]
fn what_is_not_known_about_a_customer_is_no_reduction() {
    db_test(async |db| {
        let client = db.client().await;
        assert_eq!(text(&client, "SELECT price_kopecks(19900, NULL, NULL, NULL)").await, "19900");
        // Neither a time zone nor a path of a session changes it.
        run(&client, "SET search_path = pg_temp; SET TimeZone = 'Asia/Kolkata'").await;
        assert_eq!(text(&client, "SELECT public.price_kopecks(29, NULL, true, 5)").await, "20");
    });
}

/// Any price the schema takes, small ones and round ones more often.
fn a_price() -> impl Strategy<Value = i64> {
    prop_oneof![0..=300_i64, 0..=HIGHEST, (0..=HIGHEST / 100).prop_map(|rubles| rubles * 100), HIGHEST - 100..=HIGHEST]
}

fn terms() -> impl Strategy<Value = Terms> {
    let list = proptest::option::weighted(0.9, a_price());
    let agreed = proptest::option::weighted(0.3, a_price());
    let discount = proptest::option::of(0..=100_i32);
    (list, agreed, any::<bool>(), discount).prop_map(|(list, agreed, vip, discount)| Terms {
        list,
        agreed,
        vip,
        discount,
    })
}

/// In 128 bits, where nothing overflows, and with the division done by hand.
fn expected(terms: &Terms) -> Option<i64> {
    if terms.agreed.is_some() {
        return terms.agreed;
    }
    let percent = 100 - if terms.vip { 30 } else { i128::from(terms.discount.unwrap_or(0)) };
    let hundredths = i128::from(terms.list?) * percent;
    i64::try_from((hundredths - hundredths.rem_euclid(100)) / 100).ok()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn every_price_is_that_of_exact_arithmetic(all in proptest::collection::vec(terms(), 1..2000)) {
        db_test(async |db| {
            let answered = prices(&db.client().await, &all).await;
            for (terms, price) in all.iter().zip(answered) {
                assert_eq!(price, expected(terms), "{terms:?}");
            }
        });
    }
}
