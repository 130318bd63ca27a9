-- what a connection had transferred when an earlier alert about it was closed:
-- that was counted there
ALTER TABLE alert_flow ADD COLUMN sent_before BIGINT NOT NULL DEFAULT 0;
ALTER TABLE alert_flow ADD COLUMN received_before BIGINT NOT NULL DEFAULT 0;
CREATE INDEX alert_flow_by_flow ON alert_flow (flow);
CREATE INDEX alert_finding_at ON alert_finding (at);
