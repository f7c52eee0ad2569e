// A bot's side of Perennial in TypeScript: a top-up, a purchase, and what may go wrong.
//
//     npm install pg tsx
//     DATABASE_URL=postgresql://my_bot@localhost/perennial npx tsx bot.ts 1001 basic_1m 50000

import pg from "pg";

// What a refusal means to the customer; anything else is a fault of ours.
const REFUSALS: Record<string, string> = {
  PK001: "this request was made before, with other inputs",
  PK002: "there is not enough money in the wallet",
  PK003: "user, tariff or subscription is not known",
  PK004: "the trial was used already",
  PK005: "that is not possible now",
};
const TRIES = 5;

/** The database said no, for a reason the customer may be told. */
class Refused extends Error {
  readonly code: string;

  constructor(code: string) {
    super(REFUSALS[code]);
    this.code = code;
  }
}

interface Right {
  subscription_id: string;
  expires_at: Date;
  credential_uuid: string;
  email: string;
}

// Kopecks and ids are bigint: pg gives them as text, so that no digit is lost. Idle connections that break are no news.
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
pool.on("error", () => {});

/**
 * Runs one function; a single statement is a transaction of its own, committed when it answers. A lost connection is
 * tried again with the same key: what was done the first time is not done again, and its answer comes back.
 */
async function call<Row extends pg.QueryResultRow>(sql: string, ...values: unknown[]): Promise<Row> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await pool.query<Row>(sql, values)).rows[0];
    } catch (error) {
      const code = (error as { code?: string }).code ?? "";
      if (code in REFUSALS) throw new Refused(code);
      // An SQLSTATE has five characters; class 08 and 57 are connections. What has none never reached the server.
      const connectionLost = code.length !== 5 || code.startsWith("08") || code.startsWith("57");
      if (!connectionLost || attempt === TRIES) throw error;
      await new Promise((later) => setTimeout(later, attempt * 1000));
    }
  }
}

async function main(): Promise<void> {
  const [telegramId, tariff, kopecks] = process.argv.slice(2);
  await call("SELECT perennial_ensure_user($1, $2, $3)", telegramId, "ru", "Europe/Moscow");

  // The key names the event: the payment's id at the provider, the id of the button's callback. Never a random one.
  const paid = await call<{ balance_kopecks: string }>(
    "SELECT * FROM perennial_top_up($1, $2, $3)", telegramId, kopecks, `provider:${telegramId}:1`);
  const buy = (key: string) =>
    call<Right>("SELECT * FROM perennial_buy($1, $2, $3, $4)", telegramId, tariff, true, key);
  const bought = await buy(`order:${telegramId}:1`);
  // The customer pressed twice, or the answer got lost: the same key, the same answer, nothing is charged again.
  const again = await buy(`order:${telegramId}:1`);

  // Committed. Only now add bought.email and bought.credential_uuid to the Xray servers, or leave it to reconcile-xray.
  let refused: string | null = null;
  try {
    await buy(`order:${telegramId}:2`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refused = error.code;
  }

  const wallet = await call<{ balance_kopecks: string }>(
    "SELECT balance_kopecks FROM perennial_wallets WHERE telegram_id = $1", telegramId);
  console.log(JSON.stringify({
    topped_up_to: Number(paid.balance_kopecks),
    subscription_id: Number(bought.subscription_id),
    email: bought.email,
    same_answer: JSON.stringify(bought) === JSON.stringify(again),
    second_purchase: refused,
    balance_kopecks: Number(wallet.balance_kopecks),
  }));
  await pool.end();
}

await main();
