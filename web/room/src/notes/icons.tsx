import { Icon } from "../icons"

export const Bullets = () => <Icon path="M9 6h11M9 12h11M9 18h11M4.500 6v.01M4.500 12v.01M4.500 18v.01" />
export const Numbers = () => (
  <Icon path="M10 6h10M10 12h10M10 18h10M4 4.500l1.500-.5v5M4 14.500c0-1.500 2.500-1.500 2.500 0 0 1-2.500 2-2.500 3.500h2.500" />
)
export const Brackets = () => <Icon path="M8.500 8L4.500 12l4 4M15.500 8l4 4-4 4" />
export const Block = () => (
  <Icon path="M5 4h14a1.500 1.500 0 0 1 1.500 1.500v13A1.500 1.500 0 0 1 19 20H5a1.500 1.500 0 0 1-1.500-1.500v-13A1.500 1.500 0 0 1 5 4zM10 9.500L7.500 12l2.500 2.500M14 9.500l2.500 2.500-2.500 2.500" />
)
export const Root = () => <Icon path="M3 13h2.500L9 19l4-14h8M15 11l4 6m0-6l-4 6" />
export const Undo = () => <Icon path="M8 6L4 10l4 4M4.500 10H14a5.500 5.500 0 0 1 0 11h-4" />
export const Redo = () => <Icon path="M16 6l4 4-4 4M19.500 10H10a5.500 5.500 0 0 0 0 11h4" />
