-- The payment of bench/ledger as a stored function: the same checks and the same rows as ledger_pg_batch.c writes.
CREATE FUNCTION bench_pay(payer text, payee text, amount_ bigint, order_ bytea, card_ bytea, counter_ bigint,
                          certificate_ bytea, text_ bytea, signature_ bytea) RETURNS bigint LANGUAGE plpgsql AS $f$
DECLARE
    a record; b record; before bytea; last bigint; salt_ bytea; customer_ bigint; status_ text;
    request_ bytea := sha256(text_ || signature_ || order_);
BEGIN
    LOCK TABLE writing IN EXCLUSIVE MODE;
    IF EXISTS (SELECT 1 FROM payment WHERE order_id = order_) THEN RETURN 0; END IF;
    IF EXISTS (SELECT 1 FROM payment WHERE card = card_ AND counter = counter_) THEN RETURN 0; END IF;
    SELECT customer, status INTO customer_, status_ FROM card WHERE serial = card_;
    SELECT * INTO a FROM account WHERE number = payer;
    SELECT * INTO b FROM account WHERE number = payee;
    IF status_ <> 'active' OR a.customer <> customer_ OR a.currency <> 'EUR' OR b.currency <> 'EUR' OR a.frozen <> 0
        OR b.frozen <> 0 OR a.balance - a.held - amount_ < a.floor THEN
        RETURN 0;
    END IF;
    SELECT journal, hash INTO last, before FROM chain ORDER BY journal DESC LIMIT 1;
    last := coalesce(last, 0) + 1;
    salt_ := decode(md5(random()::text), 'hex');
    UPDATE account SET balance = a.balance - amount_ WHERE id = a.id;
    UPDATE account SET balance = b.balance + amount_ WHERE id = b.id;
    INSERT INTO journal (id, time, kind, reference) VALUES (last, 1, 'payment', 'Bench');
    INSERT INTO posting (journal, line, account, amount, balance)
        VALUES (last, 0, a.id, -amount_, a.balance - amount_), (last, 1, b.id, amount_, b.balance + amount_);
    INSERT INTO payment (journal, order_id, request, customer, card, counter, certificate, text, signature, reply)
        VALUES (last, order_, request_, customer_, card_, counter_, certificate_, text_, signature_,
                '{"payment":{"id":' || last || '},"balance":' || a.balance - amount_ || '}');
    INSERT INTO chain (journal, salt, hash) VALUES (last, salt_, sha256(coalesce(before, '') || salt_ || request_));
    RETURN last;
END $f$;
