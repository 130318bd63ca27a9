-- whom to call at authorities as the site checked it, and holidays as they were
-- published; a change is a new row, the newest one counts, see duty/contact.go
-- and duty/holiday.go
CREATE TABLE duty_contact (
    id   TEXT NOT NULL,
    no   BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

CREATE TABLE duty_holidays (
    no   BIGINT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);
