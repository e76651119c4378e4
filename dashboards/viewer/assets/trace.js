// <trace-view src="/trace-data/ID">: one trace as a waterfall and as a flame graph.
// Only the rows that can be seen are in the document, so that thousands of spans scroll without lag.
'use strict';
(() => {
  const ROW = 24, OVERSCAN = 6, BOX = 19;
  const el = (tag, cls, text) => {
    const made = document.createElement(tag);
    if (cls) made.className = cls;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const took = (us) => window.steersman.seconds(us / 1e6);
  const percent = (share) => (100 * share).toFixed(3) + '%';

  class TraceView extends HTMLElement {
    async connectedCallback() {
      if (this.started) return;
      this.started = true;
      this.append(el('div', 'none', 'Loading the trace…'));
      let answer;
      try {
        answer = await fetch(this.getAttribute('src'));
        this.data = await answer.json();
      } catch (error) {
        this.data = { message: String(error) };
      }
      if (!answer || !answer.ok) {
        this.replaceChildren(el('div', 'bad none', this.data.error || this.data.detail || this.data.message));
        return;
      }
      this.count = this.data.parent.length;
      this.closed = new Set();
      this.matches = null;
      this.chosen = -1;
      this.children_ = Array.from({ length: this.count }, () => 0);
      for (const parent of this.data.parent) if (parent >= 0) this.children_[parent]++;
      const asked = new URLSearchParams(location.search).get('view');
      this.build();
      this.arrange();
      this.show(asked === 'flame' ? 'flame' : 'waterfall');
    }

    // The frame

    build() {
      this.replaceChildren();
      const bar = el('div', 'trace-bar');
      this.tabs = {};
      const tabs = el('div', 'tabs');
      tabs.setAttribute('role', 'tablist');
      for (const [key, text] of [['waterfall', 'Waterfall'], ['flame', 'Flame graph']]) {
        const tab = el('button', '', text);
        tab.setAttribute('role', 'tab');
        tab.addEventListener('click', () => this.show(key));
        this.tabs[key] = tab;
        tabs.append(tab);
      }
      this.search = el('input');
      this.search.type = 'search';
      this.search.placeholder = 'Find a service or a name';
      this.search.setAttribute('aria-label', 'Find spans by service or name');
      this.search.addEventListener('input', () => this.find());
      this.search.addEventListener('keydown', (event) => { if (event.key === 'Enter') this.next(event.shiftKey ? -1 : 1); });
      this.found = el('span', 'soft');
      this.found.setAttribute('aria-live', 'polite');
      const worst = el('button', 'linklike', 'to the first error');
      worst.addEventListener('click', () => { const row = this.data.failed.indexOf(1); if (row >= 0) this.reveal(row); });
      bar.append(tabs, this.search, this.found);
      if (this.data.failed.includes(1)) bar.append(worst);
      this.body = el('div', 'trace-body');
      this.append(bar, this.body);
      this.buildWaterfall();
      this.flame = el('div', 'flame');
      this.body.append(this.flame);
      this.details = el('div', 'inside');
      this.details.setAttribute('aria-live', 'polite');
      this.append(this.details);
    }

    show(key) {
      for (const [name, tab] of Object.entries(this.tabs)) tab.setAttribute('aria-selected', String(name === key));
      this.fall.hidden = key !== 'waterfall';
      this.flame.hidden = key !== 'flame';
      const address = new URL(location.href);
      if (key === 'flame') address.searchParams.set('view', 'flame'); else address.searchParams.delete('view');
      history.replaceState(history.state, '', address);
      if (key === 'flame') this.drawFlame(); else this.draw();
    }

    // The waterfall

    buildWaterfall() {
      this.fall = el('div', 'fall');
      const axis = el('div', 'fall-axis');
      axis.append(el('span', 'soft', `${this.count} ${this.count === 1 ? 'span' : 'spans'}`));
      const ticks = el('div', 'ticks');
      for (const place of [0, 0.25, 0.5, 0.75]) {
        const tick = el('span', '', took(this.data.duration_us * place));
        tick.style.left = percent(place);
        ticks.append(tick);
      }
      axis.append(ticks);
      this.view = el('div', 'fall-view');
      this.view.tabIndex = 0;
      this.view.setAttribute('role', 'tree');
      this.view.setAttribute('aria-label', 'Spans; arrows move and fold, Enter shows details');
      this.space = el('div', 'fall-space');
      this.space.setAttribute('role', 'presentation');
      this.view.append(this.space);
      this.fall.append(axis, this.view);
      if (this.data.left_out) this.fall.append(el('div', 'none', `${this.data.left_out} more spans are not shown`));
      this.body.append(this.fall);
      let waiting = 0;  // one drawing for each frame, however many scroll events come
      this.view.addEventListener('scroll', () => {
        waiting ||= requestAnimationFrame(() => { waiting = 0; this.draw(); });
      }, { passive: true });
      this.view.addEventListener('keydown', (event) => this.key(event));
      this.view.addEventListener('click', (event) => this.clicked(event));
      new ResizeObserver(() => this.draw()).observe(this.view);
    }

    arrange() {
      // Which rows are not folded away, in order, and where each of them stands.
      const { depth } = this.data;
      this.rows = [];
      let hidden = Infinity;
      for (let row = 0; row < this.count; row++) {
        if (depth[row] > hidden) continue;
        hidden = this.closed.has(row) ? depth[row] : Infinity;
        this.rows.push(row);
      }
      this.place = new Map(this.rows.map((row, index) => [row, index]));
      this.space.style.height = this.rows.length * ROW + 'px';
      this.view.style.height = Math.min(this.rows.length * ROW + 2, Math.max(240, innerHeight * 0.62)) + 'px';
      this.draw();
    }

    draw() {
      if (this.fall.hidden || !this.rows) return;
      const first = Math.max(0, Math.floor(this.view.scrollTop / ROW) - OVERSCAN);
      const last = Math.min(this.rows.length, Math.ceil((this.view.scrollTop + this.view.clientHeight) / ROW) + OVERSCAN);
      const fragment = document.createDocumentFragment();
      for (let index = first; index < last; index++) fragment.append(this.line(index));
      this.space.replaceChildren(fragment);
      if (this.chosen >= 0) this.view.setAttribute('aria-activedescendant', 'span-' + this.chosen);
    }

    line(index) {
      const data = this.data, row = this.rows[index], total = data.duration_us;
      const line = el('div', 'fall-row');
      line.id = 'span-' + row;
      line.dataset.row = row;
      line.style.top = index * ROW + 'px';
      line.setAttribute('role', 'treeitem');
      line.setAttribute('aria-level', data.depth[row] + 1);
      line.setAttribute('aria-selected', String(row === this.chosen));
      if (this.children_[row]) line.setAttribute('aria-expanded', String(!this.closed.has(row)));
      if (row === this.chosen) line.classList.add('chosen');
      if (this.matches && this.matches.has(row)) line.classList.add('match');
      const shade = data.colours[data.service[row]];
      const who = el('span', 'who');
      who.style.paddingLeft = `calc(${Math.min(data.depth[row], 24)} * var(--indent, 12px))`;
      const fold = el('span', 'fold', this.children_[row] ? (this.closed.has(row) ? '▸' : '▾') : '');
      const mark = el('i');
      mark.style.background = shade;
      who.append(fold, mark);
      if (data.failed[row]) who.append(el('span', 'bad', '● '));
      who.append(el('b', '', data.services[data.service[row]]), ' ' + data.names[data.name[row]]);
      const lane = el('span', 'lane');
      const left = data.start[row] / total, width = data.duration[row] / total;
      const bar = el('span', 'span');
      bar.style.cssText = `left:${percent(left)};width:max(2px,${percent(width)});background:${shade}`;
      if (data.critical[row] > 0) {
        const part = el('u');
        part.style.width = percent(data.critical[row] / Math.max(1, data.duration[row]));
        bar.append(part);
      }
      const label = el('em', '', took(data.duration[row]));
      label.style.left = percent(Math.min(1, left + width));
      lane.append(bar, label);
      line.append(who, lane);
      return line;
    }

    clicked(event) {
      const line = event.target.closest('.fall-row');
      if (!line) return;
      const row = Number(line.dataset.row);
      if (event.target.classList.contains('fold') && this.children_[row]) { this.fold(row); return; }
      this.choose(row, true);
    }

    fold(row) {
      if (this.closed.has(row)) this.closed.delete(row); else this.closed.add(row);
      this.arrange();
    }

    key(event) {
      const at = this.chosen >= 0 && this.place.has(this.chosen) ? this.place.get(this.chosen) : -1;
      const page = Math.max(1, Math.floor(this.view.clientHeight / ROW) - 1);
      const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.rows.length - 1 };
      if (event.key in moves) {
        this.choose(this.rows[Math.max(0, Math.min(this.rows.length - 1, moves[event.key]))], false);
      } else if (event.key === 'ArrowRight' && this.closed.has(this.chosen)) {
        this.fold(this.chosen);
      } else if (event.key === 'ArrowLeft' && this.chosen >= 0) {
        if (this.children_[this.chosen] && !this.closed.has(this.chosen)) this.fold(this.chosen);
        else if (this.data.parent[this.chosen] >= 0) this.choose(this.data.parent[this.chosen], false);
      } else if (event.key === 'Enter' || event.key === ' ') {
        if (this.chosen >= 0) this.tell(this.chosen);
      } else {
        return;
      }
      event.preventDefault();
    }

    choose(row, open) {
      this.chosen = row;
      const top = this.place.get(row) * ROW;
      if (top < this.view.scrollTop) this.view.scrollTop = top;
      if (top + ROW > this.view.scrollTop + this.view.clientHeight) this.view.scrollTop = top + ROW - this.view.clientHeight;
      this.draw();
      if (open) this.tell(row);
    }

    reveal(row) {
      for (let above = this.data.parent[row]; above >= 0; above = this.data.parent[above]) this.closed.delete(above);
      this.show('waterfall');
      this.arrange();
      this.view.scrollTop = Math.max(0, this.place.get(row) * ROW - this.view.clientHeight / 2);
      this.choose(row, true);
    }

    find() {
      const wanted = this.search.value.trim().toLowerCase(), data = this.data;
      this.matches = null;
      this.found.textContent = '';
      if (wanted) {
        const service = data.services.map((name) => name.toLowerCase().includes(wanted));
        const name = data.names.map((text) => text.toLowerCase().includes(wanted));
        this.matches = new Set();
        for (let row = 0; row < this.count; row++) if (service[data.service[row]] || name[data.name[row]]) this.matches.add(row);
        this.found.textContent = `${this.matches.size} of ${this.count}`;
      }
      this.draw();
      if (!this.flame.hidden) this.drawFlame();
    }

    next(step) {
      if (!this.matches || !this.matches.size) return;
      const rows = [...this.matches].sort((a, b) => a - b);
      const later = step > 0 ? rows.find((row) => row > this.chosen) : rows.filter((row) => row < this.chosen).pop();
      this.reveal(later !== undefined ? later : step > 0 ? rows[0] : rows[rows.length - 1]);
      this.search.focus();
    }

    // One span

    async tell(row) {
      this.asked = row;
      const address = `${this.getAttribute('src')}/${row}`;
      let span;
      try {
        const answer = await fetch(address);
        span = await answer.json();
        if (!answer.ok) throw new Error(span.error || answer.status);
      } catch (error) {
        this.details.replaceChildren(el('p', 'bad', String(error)));
        return;
      }
      if (this.asked !== row) return;
      const head = el('h3', '', `${span.service}: ${span.name}`);
      const facts = el('p', 'soft', `${took(span.duration_us)}, of which ${took(span.self_us)} in no child and ` +
        `${took(span.critical_us)} on the critical path; starts ${took(span.start_us)} after the trace`);
      const id = el('p', 'mono soft', span.span_id);
      const parts = [head, facts, id];
      for (const text of span.warnings) parts.push(el('p', 'warn', text));
      const columns = el('div', 'span-columns');
      columns.append(...[this.pairs('Attributes', span.attributes), this.pairs('Resource', span.resource),
        this.events('Events', span.events.map((one) => [one.at_us, one.fields.map(([key, value]) => `${key}=${value}`).join(', ')])),
        this.events('Logs', span.logs.map((one) => [one.at_us, `${one.severity} ${one.body}`])),
        this.links(span.links)].filter(Boolean));
      parts.push(columns);
      this.details.replaceChildren(...parts);
    }

    pairs(title, pairs) {
      if (!pairs.length) return null;
      const box = el('div'), table = el('table', 'pairs');
      for (const [key, value] of pairs) {
        const line = el('tr');
        line.append(el('td', 'soft', key), el('td', 'mono', value));
        table.append(line);
      }
      box.append(el('h4', '', title), table);
      return box;
    }

    events(title, events) {
      if (!events.length) return null;
      const box = el('div'), list = el('ul');
      for (const [at, text] of events) {
        const line = el('li');
        line.append(el('span', 'soft', `+${took(at)} `), el('span', 'mono', text));
        list.append(line);
      }
      box.append(el('h4', '', title), list);
      return box;
    }

    links(links) {
      if (!links.length) return null;
      const box = el('div'), list = el('ul');
      for (const link of links) {
        const line = el('li'), to = el('a', 'mono', `${link.trace_id} ${link.span_id}`);
        to.href = `/trace/${encodeURIComponent(link.trace_id)}`;
        line.append(to);
        list.append(line);
      }
      box.append(el('h4', '', 'Follows from'), list);
      return box;
    }

    // The flame graph: spans of the same path of calls are one box; a box is as wide as the time spent in it and below.

    graph() {
      if (this.stacks) return this.stacks;
      const data = this.data, root = { key: '', kids: new Map(), own: 0, total: 0, count: 0, failed: 0, depth: -1 };
      const boxes = new Array(this.count);
      for (let row = 0; row < this.count; row++) {
        const above = data.parent[row] >= 0 ? boxes[data.parent[row]] : root;
        const key = data.service[row] + '/' + data.name[row];
        let box = above.kids.get(key);
        if (!box) {
          box = { key, above, service: data.service[row], name: data.name[row], kids: new Map(), own: 0, total: 0,
            count: 0, failed: 0, depth: above.depth + 1, row };
          above.kids.set(key, box);
        }
        boxes[row] = box;
        box.own += data.self[row];
        box.count++;
        box.failed += data.failed[row];
      }
      for (let row = this.count - 1; row >= 0; row--) {
        const box = boxes[row];
        if (box.row !== row) continue;
        box.total += box.own;
        (box.above || root).total += box.total;
      }
      return (this.stacks = root);
    }

    drawFlame() {
      const root = this.graph();
      if (!this.canvas) {
        this.focus_ = root;
        this.crumbs = el('div', 'crumbs');
        this.canvas = el('canvas');
        this.canvas.setAttribute('role', 'img');
        this.canvas.setAttribute('aria-label', 'Flame graph; the table below has the same numbers');
        this.tip = el('div', 'flame-tip');
        this.tip.hidden = true;
        this.table = el('div', 'scroll-x');
        this.table.classList.add('q-mt-sm');
        this.flame.append(this.crumbs, this.canvas, this.tip, this.table);
        this.canvas.addEventListener('mousemove', (event) => this.hover(event));
        this.canvas.addEventListener('mouseleave', () => { this.tip.hidden = true; });
        this.canvas.addEventListener('click', (event) => { const hit = this.hit(event); if (hit) this.zoom(hit); });
        new ResizeObserver(() => { if (!this.flame.hidden) this.paint(); }).observe(this.flame);
        this.list(root);
      }
      this.paint();
    }

    zoom(box) {
      this.focus_ = box;
      this.paint();
    }

    paint() {
      const width = this.flame.clientWidth - 24, scale = devicePixelRatio || 1;
      if (width <= 0) return;
      this.crumbs.replaceChildren();
      const path = [];
      for (let box = this.focus_; box; box = box.above) path.unshift(box);
      if (path[0] !== this.graph()) path.unshift(this.graph());
      for (const box of path) {
        const step = el('button', 'linklike', box.depth < 0 ? 'all' : this.title(box));
        step.addEventListener('click', () => this.zoom(box));
        this.crumbs.append(step, box === this.focus_ ? '' : ' › ');
      }
      this.shapes = [];
      const lay = (box, left, span) => {
        const depth = box.depth - Math.max(0, this.focus_.depth);
        if (box.depth >= 0) this.shapes.push([box, left, span, depth]);
        let at = left;
        for (const kid of [...box.kids.values()].sort((a, b) => b.total - a.total)) {
          const part = box.total ? span * kid.total / box.total : 0;
          if (part >= 0.5) lay(kid, at, part);
          at += part;
        }
      };
      lay(this.focus_, 0, width);
      const height = (this.shapes.reduce((most, shape) => Math.max(most, shape[3]), 0) + 1) * BOX;
      this.canvas.width = width * scale;
      this.canvas.height = height * scale;
      this.canvas.style.cssText = `width:${width}px;height:${height}px`;
      const pen = this.canvas.getContext('2d');
      pen.scale(scale, scale);
      pen.font = '11.5px system-ui, sans-serif';
      pen.textBaseline = 'middle';
      const wanted = this.search.value.trim().toLowerCase();
      for (const [box, left, span, depth] of this.shapes) {
        const text = this.title(box);
        pen.globalAlpha = wanted && !text.toLowerCase().includes(wanted) ? 0.25 : 1;
        pen.fillStyle = this.data.colours[box.service];
        pen.fillRect(left, depth * BOX, Math.max(0.6, span - 1), BOX - 1);
        if (box.failed) { pen.fillStyle = '#c62f36'; pen.fillRect(left, depth * BOX, Math.min(4, span), BOX - 1); }
        if (span > 34) {
          pen.save();
          pen.beginPath();
          pen.rect(left, depth * BOX, span - 4, BOX);
          pen.clip();
          pen.fillStyle = '#10141a';
          pen.fillText(text, left + (box.failed ? 8 : 5), depth * BOX + BOX / 2);
          pen.restore();
        }
      }
      pen.globalAlpha = 1;
    }

    title(box) {
      return `${this.data.services[box.service]} ${this.data.names[box.name]}`;
    }

    hit(event) {
      const edge = this.canvas.getBoundingClientRect(), x = event.clientX - edge.left;
      const depth = Math.floor((event.clientY - edge.top) / BOX);
      const shape = (this.shapes || []).find((one) => one[3] === depth && x >= one[1] && x < one[1] + one[2]);
      return shape ? shape[0] : null;
    }

    hover(event) {
      const box = this.hit(event), edge = this.flame.getBoundingClientRect();
      this.tip.hidden = !box;
      this.canvas.style.cursor = box ? 'pointer' : 'default';
      if (!box) return;
      const all = this.graph().total || 1;
      this.tip.textContent = `${this.title(box)}: ${took(box.total)} (${(100 * box.total / all).toFixed(1)} %), ` +
        `itself ${took(box.own)}, ${box.count} spans${box.failed ? `, ${box.failed} failed` : ''}`;
      this.tip.style.left = Math.max(0, Math.min(event.clientX - edge.left + 12, edge.width - 290)) + 'px';
      this.tip.style.top = event.clientY - edge.top + 16 + 'px';
    }

    list(root) {
      // The same numbers as a table: by service and name, whatever the path.
      const sums = new Map();
      const add = (box) => {
        if (box.depth >= 0) {
          const sum = sums.get(box.key) || { text: this.title(box), own: 0, count: 0, failed: 0, row: box.row };
          sum.own += box.own; sum.count += box.count; sum.failed += box.failed;
          sums.set(box.key, sum);
        }
        for (const kid of box.kids.values()) add(kid);
      };
      add(root);
      const table = el('table', 'plain'), head = el('tr'), all = root.total || 1;
      for (const [text, cls] of [['Where the time was spent', ''], ['Itself', 'number'], ['Share', 'number'], ['Spans', 'number'], ['Failed', 'number']]) head.append(el('th', cls, text));
      table.append(head);
      for (const sum of [...sums.values()].sort((a, b) => b.own - a.own).slice(0, 20)) {
        const line = el('tr'), name = el('td'), to = el('button', 'linklike', sum.text);
        to.addEventListener('click', () => this.reveal(sum.row));
        name.append(to);
        line.append(name, el('td', 'number', took(sum.own)), el('td', 'number', (100 * sum.own / all).toFixed(1) + ' %'),
          el('td', 'number', sum.count), el('td', 'number', sum.failed || ''));
        table.append(line);
      }
      this.table.append(table, el('p', 'soft', 'Time of spans that ran side by side is added up.'));
    }
  }
  if (!customElements.get('trace-view')) customElements.define('trace-view', TraceView);
})();
