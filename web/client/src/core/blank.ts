/** Matches a visible character. The server has its own list (`shared/contract/text.py`), and decides. */
const SEEN =
  /[^\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800\ufff9-\ufffb\u{13430}-\u{1343f}\u{16fe4}\u{1d159}]/u

/** Whether nothing in the text can be seen. */
export function isBlank(text: string): boolean {
  return !SEEN.test(text)
}
