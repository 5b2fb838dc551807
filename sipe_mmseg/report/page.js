'use strict';

// Order and filter of the images. An image is {id, score, unknown, classes: {index: value}}; values may be null.

function valueOf(image, chosen) {
  return chosen === '' ? image.score : image.classes[chosen];
}

function byValue(value, direction) {
  return (a, b) => {
    const left = value(a), right = value(b);
    if (left === null || right === null) {
      return (left === null) - (right === null);  // an image without a value comes last
    }
    return direction * (left - right);
  };
}

function byId(a, b) {
  return a.id < b.id ? -1 : Number(a.id > b.id);
}

function arranged(images, chosen, order) {
  const compare = {
    ascending: byValue((image) => valueOf(image, chosen), 1),
    descending: byValue((image) => valueOf(image, chosen), -1),
    unknown: byValue((image) => image.unknown, -1),
    name: byId,
  }[order];
  return images
    .filter((image) => chosen === '' || chosen in image.classes)
    .sort((a, b) => compare(a, b) || byId(a, b));
}

function start() {
  const gallery = document.getElementById('gallery');
  if (gallery) {
    startGallery(gallery);
  }
  for (const table of document.querySelectorAll('table.sortable')) {
    startTable(table);
  }
}

function startGallery(gallery) {
  const chooser = document.getElementById('class'), sorter = document.getElementById('order');
  const count = document.getElementById('count');
  const more = document.getElementById('more'), all = document.getElementById('all');
  const step = Number(gallery.dataset.step);
  const images = Array.from(gallery.children, (card) => ({
    card,
    id: card.dataset.id,
    score: card.dataset.score === undefined ? null : Number(card.dataset.score),
    unknown: Number(card.dataset.unknown),
    classes: JSON.parse(card.dataset.classes),
  }));
  let limit = step;

  function show() {
    const found = arranged(images, chooser.value, sorter.value);
    const visible = new Set(found.slice(0, limit));
    for (const image of images) {
      image.card.hidden = !visible.has(image);
    }
    for (const image of visible) {
      gallery.append(image.card);
      // Pictures are decoded when they are to be seen, which is what lets a page of thousands open at once.
      for (const picture of image.card.querySelectorAll('img[data-src]')) {
        picture.src = picture.dataset.src;
        picture.removeAttribute('data-src');
      }
    }
    count.textContent = `${visible.size} of ${found.length} shown`;
    more.hidden = all.hidden = visible.size === found.length;
  }

  function restart() {
    limit = step;
    show();
  }

  chooser.addEventListener('change', restart);
  sorter.addEventListener('change', restart);
  more.addEventListener('click', () => { limit += step; show(); });
  all.addEventListener('click', () => { limit = images.length; show(); });
  for (const link of document.querySelectorAll('a[data-class]')) {
    link.addEventListener('click', () => { chooser.value = link.dataset.class; restart(); });
  }
  document.getElementById('controls').hidden = false;
  restart();  // a browser that goes back to the page keeps what was chosen
}

function startTable(table) {
  const body = table.tBodies[0], heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    const button = head.querySelector('button');
    if (!button) {
      return;
    }
    button.addEventListener('click', () => {
      const direction = head.getAttribute('aria-sort') === 'descending' ? 1 : -1;
      heads.forEach((each) => each.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', direction < 0 ? 'descending' : 'ascending');
      const value = (row) => {
        const found = row.cells[column].dataset.value;
        return found === undefined ? null : Number(found);
      };
      body.append(...Array.from(body.rows).sort(byValue(value, direction)));
    });
  });
}

if (typeof document !== 'undefined') {
  start();
}
