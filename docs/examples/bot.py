"""A bot's side of Perennial in Python: a top-up, a purchase, and what may go wrong.

    pip install "psycopg[binary]"
    DATABASE_URL=postgresql://my_bot@localhost/perennial python bot.py 1001 basic_1m 50000
"""

import json
import os
import sys
import time

import psycopg
from psycopg.rows import dict_row

# What a refusal means to the customer; anything else is a fault of ours.
REFUSALS = {
    "PK001": "this request was made before, with other inputs",
    "PK002": "there is not enough money in the wallet",
    "PK003": "user, tariff or subscription is not known",
    "PK004": "the trial was used already",
    "PK005": "that is not possible now",
}
TRIES = 5


class Refused(Exception):
    """The database said no, for a reason the customer may be told."""

    def __init__(self, error: psycopg.Error):
        super().__init__(REFUSALS[error.sqlstate])
        self.code = error.sqlstate


def call(sql: str, *values: object) -> dict:
    """Runs one function in a transaction of its own. A lost connection is tried again with the same key: what was done
    the first time is not done again, and its answer comes back."""
    for attempt in range(1, TRIES + 1):
        try:
            with psycopg.connect(os.environ["DATABASE_URL"], row_factory=dict_row) as connection:
                return connection.execute(sql, values).fetchone()
            # Leaving the block has committed.
        except psycopg.OperationalError:
            if attempt == TRIES:
                raise
            time.sleep(attempt)
        except psycopg.Error as error:
            if error.sqlstate in REFUSALS:
                raise Refused(error) from error
            raise


def main() -> None:
    telegram_id, tariff, kopecks = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    call("SELECT perennial_ensure_user(%s, %s, %s)", telegram_id, "ru", "Europe/Moscow")

    # The key names the event: the payment's id at the provider, the id of the button's callback. Never a random one.
    paid = call("SELECT * FROM perennial_top_up(%s, %s, %s)", telegram_id, kopecks, f"provider:{telegram_id}:1")
    order = f"order:{telegram_id}:1"
    bought = call("SELECT * FROM perennial_buy(%s, %s, %s, %s)", telegram_id, tariff, True, order)
    # The customer pressed twice, or the answer got lost: the same key, the same answer, nothing is charged again.
    again = call("SELECT * FROM perennial_buy(%s, %s, %s, %s)", telegram_id, tariff, True, order)

    # Committed. Only now add bought["email"] and bought["credential_uuid"] to the Xray servers, or leave it to
    # reconcile-xray.
    refused = None
    try:
        call("SELECT * FROM perennial_buy(%s, %s, %s, %s)", telegram_id, tariff, True, f"order:{telegram_id}:2")
    except Refused as error:
        refused = error.code

    wallet = call("SELECT balance_kopecks FROM perennial_wallets WHERE telegram_id = %s", telegram_id)
    print(json.dumps({
        "topped_up_to": paid["balance_kopecks"],
        "subscription_id": bought["subscription_id"],
        "email": bought["email"],
        "same_answer": bought == again,
        "second_purchase": refused,
        "balance_kopecks": wallet["balance_kopecks"],
    }))


main()
