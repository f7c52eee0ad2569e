//! Every shipped text in Russian, word for word.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod common;

use common::{
    AMOUNTS, COUNTS, DATES, SPANS, alert, amounts, balance_short, braked, charge_ahead, dates, dead, headings, over,
    parked, renewed, shipped, spans, trial_reminder,
};
use insta::assert_snapshot;
use time::Duration;

const LANGUAGE: &str = "ru";

fn text(kind: &str, params: &perennial_texts::Params) -> String {
    shipped(LANGUAGE, kind, params)
}

#[test]
fn a_receipt() {
    assert_snapshot!(text("renewed", &renewed()), @r"
    <b>Подписка продлена</b>

    Тариф: basic_30
    Списано: 199~₽
    Баланс: 1~234,50~₽
    Действует до 24 декабря, 18:30
    ");
}

#[test]
fn amounts_are_in_rubles() {
    assert_snapshot!(amounts(LANGUAGE, &AMOUNTS), @r"
    0: Списано: 0~₽
    1: Списано: 0,01~₽
    9: Списано: 0,09~₽
    10: Списано: 0,10~₽
    100: Списано: 1~₽
    101: Списано: 1,01~₽
    99900: Списано: 999~₽
    100000: Списано: 1~000~₽
    123450: Списано: 1~234,50~₽
    123456789: Списано: 1~234~567,89~₽
    -5: Списано: −0,05~₽
    -9223372036854775808: Списано: −92~233~720~368~547~758,08~₽
    ");
}

#[test]
fn dates_name_the_year_when_it_is_another() {
    assert_snapshot!(dates(LANGUAGE, &DATES), @r"
    Действует до 1 января, 00:00
    Действует до 28 февраля, 09:05
    Действует до 31 марта, 23:59
    Действует до 2 апреля, 12:00
    Действует до 3 мая, 12:00
    Действует до 4 июня, 12:00
    Действует до 5 июля, 12:00
    Действует до 6 августа, 12:00
    Действует до 7 сентября, 12:00
    Действует до 8 октября, 12:00
    Действует до 24 ноября, 18:30
    Действует до 31 декабря, 23:59
    Действует до 1 января 2027 г., 00:00
    ");
}

#[test]
fn a_short_balance_first() {
    assert_snapshot!(text("balance_short", &balance_short("first", Duration::hours(6))), @r"
    <b>На балансе не хватает денег для продления</b>

    Тариф: basic_30, 199~₽
    Баланс: 50,01~₽
    Не хватает: <b>148,99~₽</b>

    Пополните баланс до 25 ноября, 00:30 (осталось: 6 часов), и подписка продлится сама.
    ");
}

#[test]
fn a_short_balance_for_the_last_time() {
    assert_snapshot!(text("balance_short", &balance_short("final", Duration::minutes(41))), @r"
    <b>Последнее напоминание: на балансе не хватает денег для продления</b>

    Тариф: basic_30, 199~₽
    Баланс: 50,01~₽
    Не хватает: <b>148,99~₽</b>

    Пополните баланс до 24 ноября, 19:11 (осталось: 41 минута), и подписка продлится сама.
    ");
}

#[test]
fn a_short_balance_in_the_grace_after_the_end() {
    assert_snapshot!(text("balance_short", &balance_short("final", Duration::minutes(-3))), @r"
    <b>Последнее напоминание: на балансе не хватает денег для продления</b>

    Тариф: basic_30, 199~₽
    Баланс: 50,01~₽
    Не хватает: <b>148,99~₽</b>

    Подписка закончилась 24 ноября, 18:27. Пополните баланс прямо сейчас: несколько минут её ещё можно продлить.
    ");
}

#[test]
fn a_charge_ahead_that_the_balance_covers() {
    assert_snapshot!(text("charge_ahead", &charge_ahead(19_900)), @r"
    <b>Продление 25 ноября, 18:30</b>

    Спишем 199~₽ за тариф basic_30.
    Баланс: 199~₽
    Денег достаточно, ничего делать не нужно.
    ");
}

#[test]
fn a_charge_ahead_that_the_balance_does_not_cover() {
    assert_snapshot!(text("charge_ahead", &charge_ahead(19_899)), @r"
    <b>Продление 25 ноября, 18:30</b>

    Спишем 199~₽ за тариф basic_30.
    Баланс: 198,99~₽
    Не хватает: <b>0,01~₽</b>. Пополните баланс до 26 ноября, 00:30.
    ");
}

#[test]
fn a_trial_is_reminded_by_the_time_that_is_left() {
    assert_snapshot!(text("trial_reminder", &trial_reminder("60h", Duration::hours(12))), @r"
    <b>Пробный период. Осталось: 12 часов</b>

    Он закончится 25 ноября, 06:30. Оформите подписку до этого времени, и доступ не прервётся.
    ");
    // Sent late, and of a trial whose stages have other names: the text does not know the stage.
    let late = trial_reminder("anything", Duration::minutes(135));
    assert_snapshot!(text("trial_reminder", &late), @r"
    <b>Пробный период. Осталось: 2 часа 15 минут</b>

    Он закончится 24 ноября, 20:45. Оформите подписку до этого времени, и доступ не прервётся.
    ");
}

#[test]
fn spans_in_every_plural_form() {
    assert_snapshot!(spans(LANGUAGE, &SPANS), @r"
    -5: <b>Пробный период. Осталось: меньше минуты</b>
    0: <b>Пробный период. Осталось: меньше минуты</b>
    59: <b>Пробный период. Осталось: меньше минуты</b>
    60: <b>Пробный период. Осталось: 1 минута</b>
    120: <b>Пробный период. Осталось: 2 минуты</b>
    300: <b>Пробный период. Осталось: 5 минут</b>
    660: <b>Пробный период. Осталось: 11 минут</b>
    1260: <b>Пробный период. Осталось: 21 минута</b>
    1320: <b>Пробный период. Осталось: 22 минуты</b>
    3599: <b>Пробный период. Осталось: 1 час</b>
    3600: <b>Пробный период. Осталось: 1 час</b>
    3660: <b>Пробный период. Осталось: 1 час</b>
    8140: <b>Пробный период. Осталось: 2 часа 15 минут</b>
    18060: <b>Пробный период. Осталось: 5 часов</b>
    77520: <b>Пробный период. Осталось: 21 час 30 минут</b>
    86399: <b>Пробный период. Осталось: 1 день</b>
    86400: <b>Пробный период. Осталось: 1 день</b>
    89940: <b>Пробный период. Осталось: 1 день 1 час</b>
    90000: <b>Пробный период. Осталось: 1 день 1 час</b>
    183600: <b>Пробный период. Осталось: 2 дня 3 часа</b>
    432000: <b>Пробный период. Осталось: 5 дней</b>
    990000: <b>Пробный период. Осталось: 11 дней 11 часов</b>
    1893600: <b>Пробный период. Осталось: 21 день 22 часа</b>
    ");
}

#[test]
fn a_trial_that_is_over() {
    assert_snapshot!(text("trial_over", &over("trial")), @r"
    <b>Пробный период закончился</b>

    Он закончился 24 ноября, 18:29. Чтобы вернуть доступ, оформите подписку.
    ");
}

#[test]
fn a_subscription_that_is_over() {
    assert_snapshot!(text("subscription_over", &over("plus_1m")), @r"
    <b>Подписка закончилась</b>

    Тариф: plus_1m
    Она закончилась 24 ноября, 18:29. Чтобы вернуть доступ, оплатите новый период.
    ");
}

#[test]
fn parked_subscriptions() {
    assert_snapshot!(text("alert_parked", &alert(5, vec![parked(7), parked(8)])), @r"
    <b>Отложено 5 подписок</b>

    • renew, подписка 7: tariff old_30 is withdrawn
    • renew, подписка 8: tariff old_30 is withdrawn
    …и ещё 3

    Посмотреть: <code>perennial parked</code>. Попробовать снова: <code>perennial unpark PASS SUBSCRIPTION_ID</code>.
    ");
    assert_snapshot!(headings(LANGUAGE, "alert_parked", &COUNTS, &parked(7)), @r"
    <b>Отложена 1 подписка</b>
    <b>Отложены 2 подписки</b>
    <b>Отложено 5 подписок</b>
    <b>Отложено 11 подписок</b>
    <b>Отложена 21 подписка</b>
    <b>Отложены 22 подписки</b>
    <b>Отложено 100 подписок</b>
    ");
}

#[test]
fn passes_stopped_by_a_brake() {
    assert_snapshot!(text("alert_brake", &alert(1, vec![braked()])), @r"
    <b>Тормоз остановил 1 проход</b>

    • expire-fast: 42 subscriptions are over at once

    Ничего не завершено и не удалено. Нужно, чтобы посмотрел человек.
    ");
    assert_snapshot!(headings(LANGUAGE, "alert_brake", &COUNTS, &braked()), @r"
    <b>Тормоз остановил 1 проход</b>
    <b>Тормоз остановил 2 прохода</b>
    <b>Тормоз остановил 5 проходов</b>
    <b>Тормоз остановил 11 проходов</b>
    <b>Тормоз остановил 21 проход</b>
    <b>Тормоз остановил 22 прохода</b>
    <b>Тормоз остановил 100 проходов</b>
    ");
}

#[test]
fn notices_that_are_dead() {
    assert_snapshot!(text("alert_dead", &alert(1, vec![dead()])), @r"
    <b>Не доставлено 1 уведомление</b>

    • renewed, пользователь 1000000007: not sent: HTTP 502

    Посмотреть: <code>perennial notices list</code>.
    ");
    assert_snapshot!(headings(LANGUAGE, "alert_dead", &COUNTS, &dead()), @r"
    <b>Не доставлено 1 уведомление</b>
    <b>Не доставлены 2 уведомления</b>
    <b>Не доставлено 5 уведомлений</b>
    <b>Не доставлено 11 уведомлений</b>
    <b>Не доставлено 21 уведомление</b>
    <b>Не доставлены 22 уведомления</b>
    <b>Не доставлено 100 уведомлений</b>
    ");
}
