-- states of systems that people set on the executive sheet, every version of
-- each, see report/sheet/hand.go and incident/record
CREATE TABLE sheet_hand (
    id       TEXT NOT NULL,
    no       BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    incident TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

CREATE INDEX sheet_hand_incident ON sheet_hand (incident, kind);
