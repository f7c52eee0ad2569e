# The texts of Perennial's notices, in Russian. To change one, write it into a file of the same name in the folder that
# the settings name under [texts] folder; what the file does not hold stays as it is here. `perennial texts check` tells
# what is wrong with it.
#
# Texts are HTML as Telegram takes it. A message may have a button below it: give it both attributes,
#     .button = Личный кабинет
#     .url = https://t.me/my_bot?start=pay
# A stage may have a text of its own: trial_reminder-71h, balance_short-first, balance_short-final.

## Notices

# $tariff, $amount, $balance (after the charge), $until. Every time has $until_left (how long until then) and
# $until_is (past, ahead), every amount $amount_is (zero, positive, negative) to choose a variant by.
renewed =
    <b>Подписка продлена</b>

    Тариф: { $tariff }
    Списано: { $amount }
    Баланс: { $balance }
    Действует до { $until }

# $stage (first, final), $tariff, $price, $balance, $missing, $deadline
balance_short =
    { $stage ->
        [final] <b>Последнее напоминание: на балансе не хватает денег для продления</b>
       *[first] <b>На балансе не хватает денег для продления</b>
    }

    Тариф: { $tariff }, { $price }
    Баланс: { $balance }
    Не хватает: <b>{ $missing }</b>

    { $deadline_is ->
        [past] Подписка закончилась { $deadline }. Пополните баланс прямо сейчас: несколько минут её ещё можно продлить.
       *[ahead] Пополните баланс до { $deadline } (осталось: { $deadline_left }), и подписка продлится сама.
    }

# $tariff, $amount, $balance, $missing (zero when the balance is enough), $charge_at, $deadline (the end, until which it
# is tried again)
charge_ahead =
    <b>Продление { $charge_at }</b>

    Спишем { $amount } за тариф { $tariff }.
    Баланс: { $balance }
    { $missing_is ->
        [zero] Денег достаточно, ничего делать не нужно.
       *[positive] Не хватает: <b>{ $missing }</b>. Пополните баланс до { $deadline }.
    }

# $stage (the name of the reminder in the settings), $tariff, $ends
trial_reminder =
    <b>Пробный период. Осталось: { $ends_left }</b>

    Он закончится { $ends }. Оформите подписку до этого времени, и доступ не прервётся.

# $tariff, $ended
trial_over =
    <b>Пробный период закончился</b>

    Он закончился { $ended }. Чтобы вернуть доступ, оформите подписку.

# $tariff, $ended
subscription_over =
    <b>Подписка закончилась</b>

    Тариф: { $tariff }
    Она закончилась { $ended }. Чтобы вернуть доступ, оплатите новый период.

## To the operator's chat. $count is how many there are, $items as many of them as fit, each written as .item says.

# of an item: $pass, $subscription_id, $reason
alert_parked =
    { $count ->
        [one] <b>Отложена { $count } подписка</b>
        [few] <b>Отложены { $count } подписки</b>
       *[many] <b>Отложено { $count } подписок</b>
    }

    { $items }

    Посмотреть: <code>perennial parked</code>. Попробовать снова: <code>perennial unpark PASS SUBSCRIPTION_ID</code>.
    .item = • { $pass }, подписка { $subscription_id }: { $reason }

# of an item: $pass, $reason
alert_brake =
    { $count ->
        [one] <b>Тормоз остановил { $count } проход</b>
        [few] <b>Тормоз остановил { $count } прохода</b>
       *[many] <b>Тормоз остановил { $count } проходов</b>
    }

    { $items }

    Ничего не завершено и не удалено. Нужно, чтобы посмотрел человек.
    .item = • { $pass }: { $reason }

# of an item: $kind, $telegram_id, $reason
alert_dead =
    { $count ->
        [one] <b>Не доставлено { $count } уведомление</b>
        [few] <b>Не доставлены { $count } уведомления</b>
       *[many] <b>Не доставлено { $count } уведомлений</b>
    }

    { $items }

    Посмотреть: <code>perennial notices list</code>.
    .item = • { $kind }, пользователь { $telegram_id }: { $reason }

## How amounts, dates and spans are written. These are no HTML.

format-money = { $amount }{"\u00A0"}₽
format-group = {"\u00A0"}
format-point = ,

# $day, $month, $month_number, $year, $hour, $minute
format-date = { $day } { $month }, { $hour }:{ $minute }
format-date-year = { $day } { $month } { $year } г., { $hour }:{ $minute }
format-month-1 = января
format-month-2 = февраля
format-month-3 = марта
format-month-4 = апреля
format-month-5 = мая
format-month-6 = июня
format-month-7 = июля
format-month-8 = августа
format-month-9 = сентября
format-month-10 = октября
format-month-11 = ноября
format-month-12 = декабря

# The two largest of these are written one after the other.
format-days =
    { $count ->
        [one] { $count } день
        [few] { $count } дня
       *[many] { $count } дней
    }
format-hours =
    { $count ->
        [one] { $count } час
        [few] { $count } часа
       *[many] { $count } часов
    }
format-minutes =
    { $count ->
        [one] { $count } минута
        [few] { $count } минуты
       *[many] { $count } минут
    }
format-moment = меньше минуты

# What follows a list that was cut.
format-more = …и ещё { $count }

# A tariff is shown by its code, or as written here; a dot in the code is an underscore here.
# tariff-basic_30 = Базовый, 30 дней
