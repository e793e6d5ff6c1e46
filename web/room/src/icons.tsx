/** Line drawings on a grid of 24, in the colour of the text around them. */

export function Icon({ path }: { path: string }) {
  return (
    <svg className="drawing" viewBox="0 0 24 24" aria-hidden="true">
      <path d={path} />
    </svg>
  )
}

export const Sun = () => (
  <Icon path="M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2m0 16v2M4.9 4.9l1.4 1.400m11.3 11.300l1.5 1.500M2 12h2m16 0h2M4.9 19.100l1.4-1.400M17.6 6.300l1.5-1.4" />
)
export const Moon = () => <Icon path="M20 14.500A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.500z" />
export const Link = () => (
  <Icon path="M10 13.500a4 4 0 0 0 6 .4l3-3a4.2 4.2 0 0 0-6-6l-1.5 1.500M14 10.500a4 4 0 0 0-6-.4l-3 3a4.2 4.2 0 0 0 6 6l1.5-1.5" />
)
export const Door = () => <Icon path="M14 4h4a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2h-4M10 8l-4 4 4 4M6 12h9" />
export const Send = () => <Icon path="M4 12l16-8-6 16-3-7z" />
export const Close = () => <Icon path="M6 6l12 12M18 6L6 18" />
export const Sliders = () => (
  <Icon path="M4 7h9m5 0h2M15.500 4.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5zM4 17h2m5 0h9M8.500 14.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5z" />
)
export const More = () => <Icon path="M6 12v.01M12 12v.01M18 12v.01" />
export const Reply = () => <Icon path="M10 6l-6 6 6 6M4.500 12H14a6 6 0 0 1 6 6v1" />
export const Pen = () => <Icon path="M4 20l1-4.500L16.500 4l3.500 3.500L8.500 19zM14 6.500l3.500 3.500" />
export const Smile = () => (
  <Icon path="M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM9 9.500v.1m6-.1v.1M8 14a4.600 4.600 0 0 0 8 0" />
)
export const Bin = () => (
  <Icon path="M4 7h16M9.500 7V4.500h5V7M6.500 7l1 13h9l1-13M10 11v5.500m4-5.500v5.500" />
)
export const Hand = () => (
  <Icon path="M8 12V5.500a1.5 1.5 0 0 1 3 0V11V4.500a1.5 1.5 0 0 1 3 0V11V5.500a1.5 1.5 0 0 1 3 0V14a7 7 0 0 1-7 7c-3 0-4.5-1.500-6-4l-2-3.500a1.400 1.400 0 0 1 2.400-1.500L8 14z" />
)
export const Speech = () => (
  <Icon path="M5 5h14a1.500 1.500 0 0 1 1.500 1.500v8A1.500 1.500 0 0 1 19 16h-7l-5 4v-4H5a1.500 1.500 0 0 1-1.500-1.500v-8A1.500 1.500 0 0 1 5 5zM8 9h8M8 12h5" />
)
export const Clock = () => <Icon path="M12 5a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 9v4l2.500 2M9.500 2.500h5" />
export const Notebook = () => (
  <Icon path="M7 3.500h11a1.500 1.500 0 0 1 1.500 1.500v14a1.500 1.500 0 0 1-1.500 1.500H7zM7 3.500v17M4.500 7.500H7m-2.500 4.500H7m-2.500 4.500H7M11 8.500h5m-5 3.500h5" />
)
export const Down = () => <Icon path="M12 5v14m-6-6l6 6 6-6" />

const OF_PLACES: Record<string, string> = {
  focus: "M5 5c2.5-1 5-.8 7 .7 2-1.5 4.5-1.7 7-.7v13c-2.5-1-5-.8-7 .7-2-1.5-4.5-1.7-7-.7zM12 5.700v13",
  together:
    "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20a6.5 6.5 0 0 1 13 0M16 4.500a3.5 3.5 0 0 1 0 6.300M18 14.500a6.5 6.5 0 0 1 3.5 5.5",
  question:
    "M8.5 9a3.5 3.5 0 1 1 5 3.200c-1 .5-1.5 1.2-1.5 2.300M12 18.200v.1M12 2.500a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19z",
  break: "M5 9h12v6a4 4 0 0 1-4 4H9a4 4 0 0 1-4-4zM17 10h1.500a2.5 2.5 0 0 1 0 5H17M9 3v2.500M13 3v2.5",
}

export const PlaceIcon = ({ id }: { id: string }) => <Icon path={OF_PLACES[id] ?? ""} />
