const prefix = document.documentElement.dataset.prefix;
const answer = await fetch(`${prefix}/api/unsure`);
const page = await answer.json();
const grid = document.getElementById("grid");
for (const group of page.groups) {
  for (const image of group.images) {
    const picture = document.createElement("img");
    picture.src = `${prefix}/thumbnails/${image.id}/256?v=${image.version}`;
    picture.alt = image.name;
    grid.append(picture);
  }
}
