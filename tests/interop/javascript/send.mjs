// Sends what telemetry.json says with the OpenTelemetry SDK: `node send.mjs PROTOCOL ENDPOINT SERVICE TRACE_ID`.
// PROTOCOL is http/protobuf, http/json or grpc; SERVICE and TRACE_ID stand in for telemetry.json's. Prints the ids of the spans.
import { readFileSync } from 'node:fs';
import { DiagLogLevel, ROOT_CONTEXT, SpanKind, SpanStatusCode, createTraceState, diag, trace } from '@opentelemetry/api';
import { OTLPLogExporter as LogsGrpc } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as LogsJson } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as LogsProto } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter as MetricsGrpc } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as MetricsJson } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as MetricsProto } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as TracesGrpc } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as TracesJson } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as TracesProto } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { AggregationType, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

const [protocol, endpoint, service, traceId] = process.argv.slice(2);
const data = JSON.parse(readFileSync(new URL('telemetry.json', import.meta.url)), (_key, value) =>
  value?.$bytes === undefined ? value : new Uint8Array(Buffer.from(value.$bytes, 'base64')),
);

let complaints = 0;
const complain = (...words) => {
  complaints += 1;
  console.error(...words);
};
diag.setLogger({ error: complain, warn() {}, info() {}, debug() {}, verbose() {} }, DiagLogLevel.ERROR);

const [Traces, Metrics, Logs] = {
  'http/protobuf': [TracesProto, MetricsProto, LogsProto],
  'http/json': [TracesJson, MetricsJson, LogsJson],
  grpc: [TracesGrpc, MetricsGrpc, LogsGrpc],
}[protocol];
const url = (signal) => ({ url: protocol === 'grpc' ? endpoint : `${endpoint}/v1/${signal}` });
const resource = resourceFromAttributes(
  { ...data.resource.attributes, 'service.name': service },
  { schemaUrl: data.resource.schemaUrl },
);
const scope = [data.scope.name, data.scope.version, { schemaUrl: data.scope.schemaUrl }];
const moment = ([seconds, nanos]) => [Number(seconds), nanos];
const context = ({ traceId, spanId, traceFlags, traceState }, isRemote) => ({
  traceId,
  spanId,
  traceFlags,
  isRemote,
  traceState: createTraceState(traceState),
});

const most = 20; // of attributes, events and links; the longest lists of telemetry.json stay below
const tracing = new BasicTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(new Traces(url('traces')))],
  spanLimits: { attributeCountLimit: most, eventCountLimit: most, linkCountLimit: most },
});
const tracer = tracing.getTracer(...scope);
const started = {};
const parents = trace.setSpanContext(ROOT_CONTEXT, context({ ...data.remoteParent, traceId }, true));
for (const one of data.spans) {
  const parent = one.parent ? trace.setSpan(ROOT_CONTEXT, started[one.parent]) : parents;
  const links = one.links.map((link) => ({ context: context(link, false), attributes: link.attributes }));
  const options = { kind: SpanKind[one.kind], startTime: moment(one.start), attributes: one.attributes, links };
  const span = tracer.startSpan(one.name, options, parent);
  for (const event of one.events) span.addEvent(event.name, event.attributes, moment(event.time));
  for (let number = 0; number < (one.overflow ? most + one.overflow : 0); number += 1) {
    span.setAttribute(`attribute ${number}`, number);
    span.addEvent(`event ${number}`, {}, moment(one.start));
    span.addLink({ context: context(data.remoteParent, false) });
  }
  span.setStatus({ code: SpanStatusCode[one.status.code], message: one.status.message || undefined });
  started[one.name] = span;
}
for (const one of data.spans) started[one.name].end(moment(one.end));

const logging = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter: new Logs(url('logs')) })] });
const logger = logging.getLogger(...scope);
const stamps = data.logs.map((one, index) => {
  const timestamp = [1767225602, index];
  logger.emit({
    timestamp,
    observedTimestamp: [1767225603, index],
    body: one.body,
    severityNumber: one.severityNumber,
    severityText: one.severityText,
    eventName: one.eventName,
    attributes: one.attributes,
    context: one.span ? trace.setSpan(ROOT_CONTEXT, started[one.span]) : ROOT_CONTEXT,
  });
  return timestamp;
});

const reader = new PeriodicExportingMetricReader({ exporter: new Metrics(url('metrics')), exportIntervalMillis: 3_600_000 });
const measuring = new MeterProvider({
  resource,
  readers: [reader],
  views: [{ instrumentName: 'exponential', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
});
const meter = measuring.getMeter(...scope);
const record = (points, act) => points.forEach(({ value, attributes }) => act(value, attributes));
const counter = meter.createCounter('interop.orders', { unit: '{order}', description: 'Orders.' });
record(data.metrics.counter, (value, attributes) => counter.add(value, attributes));
const upDown = meter.createUpDownCounter('interop.open', { unit: '1' });
record(data.metrics.upDownCounter, (value, attributes) => upDown.add(value, attributes));
const gauge = meter.createGauge('interop.temperature', { unit: 'Cel' });
record(data.metrics.gauge, (value, attributes) => gauge.record(value, attributes));
meter.createObservableGauge('interop.size', { unit: 'By' }).addCallback((result) => {
  record(data.metrics.observable, (value, attributes) => result.observe(value, attributes));
});
const advice = { explicitBucketBoundaries: data.metrics.boundaries };
const histogram = meter.createHistogram('interop.duration', { unit: 's', advice });
record(data.metrics.histogram, (value, attributes) => histogram.record(value, attributes));
const exponential = meter.createHistogram('exponential', { unit: 's' });
record(data.metrics.exponential, (value, attributes) => exponential.record(value, attributes));

for (const provider of [tracing, logging, measuring]) await provider.forceFlush();
for (const provider of [tracing, logging]) await provider.shutdown();
const spans = Object.fromEntries(Object.entries(started).map(([name, span]) => [name, span.spanContext().spanId]));
console.log(JSON.stringify({ spans, stamps }));
process.exit(complaints ? 1 : 0);
