/** As the server's list of what nobody can see (`shared/contract/text.py`), which has the last word. */
const SEEN =
  /[^\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800\ufff9-\ufffb\u{13430}-\u{1343f}\u{16fe4}\u{1d159}]/u

/** Nothing of the text can be seen. */
export function isBlank(text: string): boolean {
  return !SEEN.test(text)
}
