"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.querySelector(".theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  for (const form of document.querySelectorAll("form.filters")) {
    form.hidden = false;
    const section = form.closest("section");
    const list = section.querySelector(".list");
    const articles = [...list.querySelectorAll("article")];
    const shown = form.querySelector("output");
    const words = new Map();
    const text = (article) => {
      if (!words.has(article)) words.set(article, article.textContent.toLowerCase());
      return words.get(article);
    };
    const holds = (article, field) => {
      if (!field.value) return true;
      if (field.name === "search") return text(article).includes(field.value.toLowerCase());
      return (article.dataset[field.name] || "").split("|").includes(field.value);
    };
    const apply = () => {
      const fields = [...form.elements].filter((field) => field.name && field.name !== "order");
      let count = 0;
      for (const article of articles) {
        article.hidden = !fields.every((field) => holds(article, field));
        count += !article.hidden;
      }
      shown.value = `${count} of ${articles.length}`;
    };
    const sort = () => {
      const by = form.elements.order ? form.elements.order.value : "";
      const number = (article) => Number(article.dataset[by] || 0);
      const sorted = by ? [...articles].sort((a, b) => number(b) - number(a)) : articles;
      list.append(...sorted);
    };
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", apply);
    if (form.elements.order) form.elements.order.addEventListener("change", sort);
    form.addEventListener("reset", () => setTimeout(() => { apply(); sort(); }));
    apply();
  }

  // A link to something that a filter hides shows it again.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.hidden) {
      target.closest("section").querySelector("form.filters").reset();
      setTimeout(() => target.scrollIntoView());
    }
  };
  addEventListener("hashchange", reveal);

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
})();
