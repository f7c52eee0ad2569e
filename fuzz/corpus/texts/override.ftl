renewed = <b>Спасибо</b>, { $tariff } до { $until }
    .button = Кабинет
    .url = https://t.me/bot?start={ $tariff_code }
balance_short-final = { $missing_is ->
        [positive] Не хватает { $missing }
       *[zero] Хватает
    }
tariff-basic_30 = Базовый
format-money = { $amount } руб.
