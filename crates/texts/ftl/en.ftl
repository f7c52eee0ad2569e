# The texts of Perennial's notices, in English. To change one, write it into a file of the same name in the folder that
# the settings name under [texts] folder; what the file does not hold stays as it is here. `perennial texts check` tells
# what is wrong with it.
#
# Texts are HTML as Telegram takes it. A message may have a button below it: give it both attributes,
#     .button = My account
#     .url = https://t.me/my_bot?start=pay
# A stage may have a text of its own: trial_reminder-71h, balance_short-first, balance_short-final.

## Notices

# $tariff, $amount, $balance (after the charge), $until. Every time has $until_left (how long until then) and
# $until_is (past, ahead), every amount $amount_is (zero, positive, negative) to choose a variant by.
renewed =
    <b>Your subscription has been renewed</b>

    Plan: { $tariff }
    Charged: { $amount }
    Balance: { $balance }
    Valid until { $until }

# $stage (first, final), $tariff, $price, $balance, $missing, $deadline
balance_short =
    { $stage ->
        [final] <b>Last reminder: your balance does not cover the renewal</b>
       *[first] <b>Your balance does not cover the renewal</b>
    }

    Plan: { $tariff }, { $price }
    Balance: { $balance }
    Missing: <b>{ $missing }</b>

    { $deadline_is ->
        [past] The subscription ended on { $deadline }. Top up right now: for a few minutes it can still be renewed.
       *[ahead] Top up by { $deadline } ({ $deadline_left } left), and it will renew automatically.
    }

# $tariff, $amount, $balance, $missing (zero when the balance is enough), $charge_at, $deadline (the end, until which it
# is tried again)
charge_ahead =
    <b>Renewal on { $charge_at }</b>

    We will charge { $amount } for the plan { $tariff }.
    Balance: { $balance }
    { $missing_is ->
        [zero] That is enough, there is nothing to do.
       *[positive] Missing: <b>{ $missing }</b>. Top up by { $deadline }.
    }

# $stage (the name of the reminder in the settings), $tariff, $ends
trial_reminder =
    <b>Your trial: { $ends_left } left</b>

    It ends on { $ends }. Buy a subscription before then, and you will stay connected.

# $tariff, $ended
trial_over =
    <b>Your trial is over</b>

    It ended on { $ended }. Buy a subscription to get access again.

# $tariff, $ended
subscription_over =
    <b>Your subscription is over</b>

    Plan: { $tariff }
    It ended on { $ended }. Buy a new period to get access again.

## To the operator's chat. $count is how many there are, $items as many of them as fit, each written as .item says.

# of an item: $pass, $subscription_id, $reason
alert_parked =
    { $count ->
        [one] <b>A subscription is parked</b>
       *[other] <b>{ $count } subscriptions are parked</b>
    }

    { $items }

    Look: <code>perennial parked</code>. Try again: <code>perennial unpark PASS SUBSCRIPTION_ID</code>.
    .item = • { $pass }, subscription { $subscription_id }: { $reason }

# of an item: $pass, $reason
alert_brake =
    { $count ->
        [one] <b>A brake has stopped a pass</b>
       *[other] <b>Brakes have stopped { $count } passes</b>
    }

    { $items }

    Nothing was ended or removed there. A person must look.
    .item = • { $pass }: { $reason }

# of an item: $kind, $telegram_id, $reason
alert_dead =
    { $count ->
        [one] <b>A notice could not be delivered</b>
       *[other] <b>{ $count } notices could not be delivered</b>
    }

    { $items }

    Look: <code>perennial notices list</code>.
    .item = • { $kind }, user { $telegram_id }: { $reason }

## How amounts, dates and spans are written. These are no HTML.

format-money = { $amount }{"\u00A0"}₽
format-group = ,
format-point = .

# $day, $month, $month_number, $year, $hour, $minute
format-date = { $day } { $month }, { $hour }:{ $minute }
format-date-year = { $day } { $month } { $year }, { $hour }:{ $minute }
format-month-1 = January
format-month-2 = February
format-month-3 = March
format-month-4 = April
format-month-5 = May
format-month-6 = June
format-month-7 = July
format-month-8 = August
format-month-9 = September
format-month-10 = October
format-month-11 = November
format-month-12 = December

# The two largest of these are written one after the other.
format-days =
    { $count ->
        [one] { $count } day
       *[other] { $count } days
    }
format-hours =
    { $count ->
        [one] { $count } hour
       *[other] { $count } hours
    }
format-minutes =
    { $count ->
        [one] { $count } minute
       *[other] { $count } minutes
    }
format-moment = less than a minute

# What follows a list that was cut.
format-more = …and { $count } more

# A tariff is shown by its code, or as written here; a dot in the code is an underscore here.
# tariff-basic_30 = Basic, 30 days
