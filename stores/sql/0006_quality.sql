-- What was amended lately, over all symbols, and how right the bars of a day were, without reading every bar.

CREATE INDEX bars_amended ON bars (known_at) WHERE state = 'amended';
CREATE INDEX reconciled_by_day ON reconciled (day);
