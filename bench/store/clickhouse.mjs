// Runs the embedded ClickHouse: reads one JSON request a line, {"SQL": …}, and
// answers with {"Text": …} or {"Error": …}. argv: folder of node_modules, data.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [modules, data] = process.argv.slice(2);
const { Session } = createRequire(modules + '/')('chdb');
const session = new Session(data);
const say = (reply) => process.stdout.write(JSON.stringify(reply) + '\n');
say({ Text: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
	const began = process.hrtime.bigint();
	const reply = {};
	try {
		reply.Text = String(session.query(JSON.parse(line).SQL, 'TabSeparated') ?? '');
	} catch (e) {
		reply.Error = String(e);
	}
	reply.Wall = Number(process.hrtime.bigint() - began);
	say(reply);
}
